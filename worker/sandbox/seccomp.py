"""Filter the system calls of decoders with libseccomp, if the machine has it (Linux).

libseccomp is called through ctypes. The Python module of libseccomp is built together with the
library and is not in the package index.
"""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Final

ALLOWED: Final = (
    # calls for memory
    "brk",
    "mremap",
    "munmap",
    # calls on descriptors that the decoder has or receives; fstat takes no path, unlike newfstatat
    "close",
    "fstat",
    "fstat64",
    "lseek",
    "_llseek",
    "pread64",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "write",
    "writev",
    # calls for time and signals, and calls that the C library makes by itself
    "futex",
    "futex_time64",
    "getcwd",
    "getpid",
    "getrandom",
    "getrusage",
    "gettid",
    "gettimeofday",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "setitimer",
    "sigaltstack",
    "exit",
    "exit_group",
)
"""System calls that a decoder may make with any arguments. RESTRICTED lists the others.

Neither list has a call that takes a path, because the errors of stat, access or readlink would show
which files exist. getcwd, which Pillow calls at each save, always returns "/". No call opens a
file, connects, starts a process or sends a signal: open, socket, exec, fork, clone, kill and ptrace
are missing. fcntl is missing because it can make a socket send signals. ioctl is missing because it
can allocate disk space for a file. Every other call fails with EPERM, so that a library that only
tests for a feature still works. In glibc 2.33 to 2.38, fstat() calls newfstatat and therefore
fails; Python's file objects accept that.
"""

THREADS: Final = ("rseq", "set_robust_list")
"""System calls that a new thread makes when it starts. The call that creates it, clone, has a rule
of its own."""

NO_LIBRARY: Final = 3
NO_FILTER: Final = 4
"""Exit statuses of `python -m worker.sandbox.seccomp`. They give the reason why the process could
not be sealed."""

_ALLOW: Final = 0x7FFF0000  # SCMP_ACT_ALLOW
_REFUSE: Final = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO
_ABSENT: Final = 0x00050000 | errno.ENOSYS
_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_SYNC_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC: apply the filter to all threads
_INSTRUCTION_BYTES: Final = 8
_MASKED_EQUAL: Final = 7  # SCMP_CMP_MASKED_EQ
_CLONE_THREAD: Final = 0x00010000
_CLONE_NAMESPACES: Final = 0x7E020080  # CLONE_NEWUSER, NEWPID, NEWNET, NEWNS, ...
_PROT_EXEC: Final = 4
_INT: Final = 0xFFFFFFFF
_POINTER: Final = 0xFFFFFFFFFFFFFFFF


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`: argument number, operator, mask, value."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def _masked(argument: int, mask: int, value: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, mask, value)


RESTRICTED: Final = (
    # Allow no new executable memory: all code is loaded before the filter.
    ("mmap", _masked(2, _PROT_EXEC, 0)),
    ("mmap2", _masked(2, _PROT_EXEC, 0)),
    ("mprotect", _masked(2, _PROT_EXEC, 0)),
    # Allow only MADV_DONTNEED and MADV_FREE, which allocators need. MADV_MERGEABLE would share
    # pages with other processes. The duration of a write would then show that another process has
    # a page with the same bytes.
    ("madvise", _masked(2, _INT, 4)),
    ("madvise", _masked(2, _INT, 8)),
    # Allow no flags and no address, so that data go only to the other end of a connected socket.
    ("sendto", _masked(3, _INT, 0), _masked(4, _POINTER, 0)),
    # Allow only the system's clocks: negative ids are the CPU clocks of other processes.
    ("clock_gettime", _masked(0, _INT & ~15, 0)),
    ("clock_gettime64", _masked(0, _INT & ~15, 0)),
    # Allow only this process's own limit on CPU time (RLIMIT_CPU).
    ("prlimit64", _masked(0, _INT, 0), _masked(1, _INT, 0)),
    # Allow only the processors of this process itself: for another id, the result would show
    # whether a process with that id exists.
    ("sched_getaffinity", _masked(0, _INT, 0)),
)
"""System calls that a decoder may make only with certain arguments, as (name, comparison, …).

All comparisons of an entry must be true. If a name has several entries, one matching entry is
enough.
"""


def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    # Every distribution uses this file name. ctypes.util.find_library would start a program.
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


_LIBRARY: Final = _library()
"""libseccomp. It is loaded at import, because a decoder's user may not be able to read the file
later."""


class _Program(ctypes.Structure):
    """The kernel's `struct sock_fprog`: the number of instructions, and a pointer to them."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@cache
def compile_filter(*, threads: bool = False) -> bytes | None:
    """Compile the filter that `seal` loads; return None if libseccomp is missing or fails.

    Takes about a millisecond. The result is cached: a fork server calls this before it forks, so
    that its children do not compile again.
    """
    library = _LIBRARY
    if library is None:
        return None
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    rules = library.seccomp_init(_REFUSE)
    if not rules:
        return None
    try:

        def add(name: str, action: int, *comparisons: _Comparison) -> bool:
            number: int = library.seccomp_syscall_resolve_name(name.encode())
            given = (_Comparison * len(comparisons))(*comparisons)
            # the number is negative if this architecture has no system call of this name
            if number < 0:
                return True
            count = len(comparisons)
            return bool(library.seccomp_rule_add_array(rules, action, number, count, given) == 0)

        added = all(add(name, _ALLOW) for name in ALLOWED)
        added = added and all(add(name, _ALLOW, *given) for name, *given in RESTRICTED)
        if threads:
            thread = _masked(0, _CLONE_THREAD | _CLONE_NAMESPACES, _CLONE_THREAD)
            # clone3's flags are behind a pointer, which seccomp cannot read. Answer ENOSYS, so
            # that libc falls back to clone, whose flags are an argument.
            added = added and add("clone3", _ABSENT) and add("clone", _ALLOW, thread)
            added = added and all(add(name, _ALLOW) for name in THREADS)
        return _export(library, rules) if added else None
    finally:
        library.seccomp_release(rules)


def _export(library: ctypes.CDLL, rules: int) -> bytes | None:
    """Return the compiled filter, read through a pipe: a decoder may not write to files."""
    # the write cannot block: a pipe takes 64 KiB, and a filter has less than 2 KiB
    reading, writing = os.pipe()
    with open(reading, "rb") as source:
        with open(writing, "wb"):
            exported = library.seccomp_export_bpf(rules, writing) == 0
        return source.read() if exported else None


def seal(*, threads: bool = False) -> bool:
    """Limit this process to the system calls in ALLOWED and RESTRICTED. This cannot be undone.

    With `threads`, the process may also start threads, but no processes. Returns False if
    libseccomp is missing or the kernel rejects the filter; every system call then stays allowed.
    """
    if _LIBRARY is None or (compiled := compile_filter(threads=threads)) is None:
        return False
    os.chdir("/")  # otherwise getcwd would reveal a path
    libc = ctypes.CDLL(None)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        return False
    number = _LIBRARY.seccomp_syscall_resolve_name(b"seccomp")
    program = _Program(len(compiled) // _INSTRUCTION_BYTES, compiled)
    # The result is 0 if all threads have the filter. Otherwise it is an error, or the id of a
    # thread that cannot take the filter.
    return bool(
        libc.syscall(
            ctypes.c_long(number),
            ctypes.c_ulong(_SET_MODE_FILTER),
            ctypes.c_ulong(_SYNC_THREADS),
            ctypes.byref(program),
        )
        == 0
    )


if __name__ == "__main__":
    sys.exit(NO_LIBRARY if _LIBRARY is None else 0 if seal() else NO_FILTER)
