"""Read and limit the CPU time of sandboxed processes."""

import math
import resource
import sys
import time
from contextlib import suppress
from typing import Final

CPU_SHARE: Final = 0.5
"""CPU time that a child may use for a job, as a fraction of the job's wall-clock timeout. A file
that needs more is hostile: the slowest normal image of 50 megapixels takes two seconds. The
wall-clock timeout does not count the time in which the process waits for a processor
(`worker.sandbox.job_clock`)."""

IDLE_CPU_S: Final = 0.01
"""CPU time, in seconds, that a child may use between an answer and the next job. In that time it
only frees the memory of the job."""

TEND_EVERY_S: Final = 1.0
"""Interval, in seconds, at which idle children are checked. A check kills a child that has computed
since the last check. So an idle child can compute unnoticed for at most this long."""


def cpu_s(pid: int) -> float:
    """Return the CPU time, in seconds, that a process has used.

    Returns 0 if the process is gone, or on other systems than Linux.
    """
    if sys.platform == "linux":
        # if this fails, the process is gone; its closed socket will show that
        with suppress(OSError):
            # the id of another process's CPU clock (clock_getcpuclockid(3))
            return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def limit_cpu(seconds: float) -> None:
    """Let the kernel send SIGXCPU to this process after it used `seconds` more of CPU time.

    May be repeated. Does nothing if the new limit reaches the hard limit, which ends the process
    anyway.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
