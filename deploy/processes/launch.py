"""Become another program that cannot outlive its parent.

    python -I -S launch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…

A program of its own, because the kernel forgets the tie when a process changes its user, and
because code between fork and exec may hang in a process that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Change to UID and GID unless they are -1, have SIGNAL sent when PARENT ends, run PROGRAM."""
    parent, number, uid, gid = map(int, arguments[:4])
    # Files are ours alone, and so are Unix sockets: to connect to one takes the right to write.
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
