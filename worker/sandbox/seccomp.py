"""A filter of system calls for decoders, by libseccomp where the machine has it (Linux).

Bound here in a few calls: the library's own Python module is built with it, and is in no index.
"""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Final

ALLOWED: Final = (
    # memory
    "brk", "mremap", "munmap",
    # the descriptors that it has or is handed; fstat has no path, unlike newfstatat and statx
    "close", "fstat", "fstat64", "lseek", "_llseek", "pread64", "read", "readv", "recvfrom",
    "recvmsg", "write", "writev",
    # time, signals, and what the C library asks of itself
    "futex", "futex_time64", "getcwd", "getpid", "getrandom", "getrusage", "gettid", "gettimeofday",
    "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield",
    "setitimer", "sigaltstack", "exit", "exit_group",
)  # fmt: skip
"""System calls that a decoder may make with any arguments; RESTRICTED has the others.

No call that takes a path is in either: the errors of stat, access or readlink would tell which
files exist. getcwd, which Pillow calls at each save, always answers "/". No call opens, connects,
starts or signals anything: no open, socket, exec, fork, clone, kill or ptrace; no fcntl, which can
have a socket send signals; no ioctl, which can allocate disk space for a file. Every other call
fails with EPERM, which a library that only asks survives. glibc 2.33 to 2.38 calls newfstatat for
fstat(), which therefore fails; Python's file objects accept that.
"""

THREADS: Final = ("rseq", "set_robust_list")
"""What a thread of this very process needs besides its start."""

NO_LIBRARY: Final = 3
NO_FILTER: Final = 4
"""Exit statuses of `python -m worker.sandbox.seccomp`: why it could not seal itself."""

_ALLOW: Final = 0x7FFF0000  # SCMP_ACT_ALLOW
_REFUSE: Final = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO
_ABSENT: Final = 0x00050000 | errno.ENOSYS
_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_SYNC_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC
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
        ("arg", ctypes.c_uint), ("op", ctypes.c_int),
        ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64),
    )  # fmt: skip


def _masked(argument: int, mask: int, value: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, mask, value)


RESTRICTED: Final = (
    # No new code: what is executable is so already.
    ("mmap", _masked(2, _PROT_EXEC, 0)),
    ("mmap2", _masked(2, _PROT_EXEC, 0)),
    ("mprotect", _masked(2, _PROT_EXEC, 0)),
    # MADV_DONTNEED and MADV_FREE, which allocators need. MADV_MERGEABLE would share pages with
    # other processes, and the time of a write then tells that they hold the same bytes.
    ("madvise", _masked(2, _INT, 4)),
    ("madvise", _masked(2, _INT, 8)),
    # On its socket only, without flags and without an address.
    ("sendto", _masked(3, _INT, 0), _masked(4, _POINTER, 0)),
    # The system's clocks: negative numbers are the CPU clocks of other processes.
    ("clock_gettime", _masked(0, _INT & ~15, 0)),
    ("clock_gettime64", _masked(0, _INT & ~15, 0)),
    # Its own limit of CPU time (RLIMIT_CPU).
    ("prlimit64", _masked(0, _INT, 0), _masked(1, _INT, 0)),
    # Its own processors; asked for another id, the answer tells whether that process exists.
    ("sched_getaffinity", _masked(0, _INT, 0)),
)
"""System calls that a decoder may make with some arguments only, as (name, comparison, …).

Those of one line must all hold. A name that stands in several lines is allowed by each of them.
"""


def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    # By the name that every distribution gives it; looking it up would start a program.
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


_LIBRARY: Final = _library()
"""Loaded at import: a decoder that has changed its user may not be able to read it any more."""


class _Program(ctypes.Structure):
    """The kernel's `struct sock_fprog`: the count of instructions, and where they are."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@cache
def compile_filter(*, threads: bool = False) -> bytes | None:
    """Compile the filter that `seal` loads; None if there is no libseccomp.

    Takes about a millisecond. A fork server calls it before it forks, so that `seal` does not.
    """
    library = _LIBRARY
    if library is None:
        return None
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    rules = library.seccomp_init(_REFUSE)
    if not rules:
        return None
    try:

        def add(name: str, action: int, *comparisons: _Comparison) -> bool:
            number: int = library.seccomp_syscall_resolve_name(name.encode())
            given = (_Comparison * len(comparisons))(*comparisons)
            # negative: this architecture has no such call
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
    """Read the compiled filter through a pipe: a decoder's files may have no bytes."""
    reading, writing = os.pipe()  # takes 64 KiB at once; the filter has less than 2
    with open(reading, "rb") as source:
        with open(writing, "wb"):
            exported = library.seccomp_export_bpf(rules, writing) == 0
        return source.read() if exported else None


def seal(*, threads: bool = False) -> bool:
    """Allow this process ALLOWED and RESTRICTED and no other system call from now on; it is final.

    With `threads` it may start threads of its own, and still no process. False, and nothing is
    changed, where there is no libseccomp or the kernel does not filter.
    """
    if _LIBRARY is None or (compiled := compile_filter(threads=threads)) is None:
        return False
    os.chdir("/")  # so that getcwd tells nothing
    libc = ctypes.CDLL(None)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        return False
    number = _LIBRARY.seccomp_syscall_resolve_name(b"seccomp")
    program = _Program(len(compiled) // _INSTRUCTION_BYTES, compiled)
    # 0 if all threads have it now, else an error or the id of a thread that cannot take it
    return bool(
        libc.syscall(
            ctypes.c_long(number), ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(_SYNC_THREADS),
            ctypes.byref(program),
        ) == 0
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(NO_LIBRARY if _LIBRARY is None else 0 if seal() else NO_FILTER)
