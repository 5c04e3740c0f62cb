"""The limits of a process that reads hostile bytes: its system calls, rights, and CPU time."""
