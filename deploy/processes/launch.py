"""Execute a program that cannot outlive its parent process.

    python -I -S launch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…

This is a separate program for two reasons. The kernel clears the parent-death signal when a process
changes its user, so the signal must be set after the change. And code between fork and exec may
deadlock in a process that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Change to UID and GID, unless they are -1, then execute PROGRAM.

    When PARENT ends, the kernel sends SIGNAL to PROGRAM.
    """
    parent, number, uid, gid = map(int, arguments[:4])
    # Only the owner may use the files and Unix sockets of the program.
    os.umask(0o077)
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() == parent:
        os.execv(arguments[4], arguments[4:])  # noqa: S606 - the program comes from `Program.argv`


if __name__ == "__main__":
    main(sys.argv[1:])
