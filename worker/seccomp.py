"""A filter of system calls for decoders, by libseccomp where the machine has it (Linux).

Bound here in five calls: the library's own Python module is built with it, and is in no index.
"""

import ctypes
import errno
import sys
from typing import Final

ALLOWED: Final = (
    # memory
    "brk", "madvise", "mmap", "mprotect", "mremap", "munmap",
    # the descriptors that it has or is handed
    "close", "fstat", "fstat64", "lseek", "_llseek", "newfstatat", "pread64", "read", "readv",
    "recvfrom", "recvmsg", "sendto", "statx", "write", "writev",
    # time, signals, and what the C library asks of itself
    "clock_gettime", "clock_gettime64", "futex", "futex_time64", "getcwd", "getpid", "getrandom",
    "getrusage", "gettid", "gettimeofday", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_getaffinity", "sched_yield", "setitimer", "sigaltstack", "sysinfo",
    "exit", "exit_group",
)  # fmt: skip
"""All that decoding was seen to need. Nothing here opens, connects, starts or signals anything:
no open, socket, exec, fork, clone, kill or ptrace; nor fcntl, by which a socket can be told to send
signals, or ioctl, by which a file takes room on the disk. Whatever is not named fails with EPERM,
which a library that merely asks survives."""

THREADS: Final = ("rseq", "set_robust_list")
"""What a thread of this very process needs besides its start."""

_ALLOW: Final = 0x7FFF0000  # SCMP_ACT_ALLOW
_REFUSE: Final = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO
_ABSENT: Final = 0x00050000 | errno.ENOSYS
_SYNC_THREADS: Final = 4  # SCMP_FLTATR_CTL_TSYNC
_MASKED_EQUAL: Final = 7  # SCMP_CMP_MASKED_EQ
_CLONE_THREAD: Final = 0x00010000


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`: argument number, operator, mask, value."""

    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int),
        ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64),
    )  # fmt: skip


def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    # By the name that every distribution gives it; looking it up would start a program.
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


def seal(*, threads: bool = False) -> bool:
    """Allow this process ALLOWED and no other system call from now on; it cannot be undone.

    With `threads` it may start threads of its own, and still no process. False, and nothing is
    changed, where there is no libseccomp or the kernel does not filter.
    """
    library = _library()
    if library is None:
        return False
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    rules = library.seccomp_init(_REFUSE)
    if not rules:
        return False
    try:
        library.seccomp_attr_set(rules, _SYNC_THREADS, 1)

        def add(name: str, action: int, *comparisons: _Comparison) -> bool:
            number: int = library.seccomp_syscall_resolve_name(name.encode())
            given = (_Comparison * len(comparisons))(*comparisons)
            # negative: this architecture has no such call
            if number < 0:
                return True
            count = len(comparisons)
            return bool(library.seccomp_rule_add_array(rules, action, number, count, given) == 0)

        added = all(add(name, _ALLOW) for name in ALLOWED)
        if threads:
            thread = _Comparison(0, _MASKED_EQUAL, _CLONE_THREAD, _CLONE_THREAD)
            # What clone3 is told lies in memory, where no filter can look: the C library then
            # takes clone, whose flags are an argument.
            added = added and add("clone3", _ABSENT) and add("clone", _ALLOW, thread)
            added = added and all(add(name, _ALLOW) for name in THREADS)
        return added and bool(library.seccomp_load(rules) == 0)
    finally:
        library.seccomp_release(rules)
