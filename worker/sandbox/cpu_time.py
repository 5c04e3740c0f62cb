"""Read and limit the CPU time of sandboxed processes."""

import math
import resource
import sys
import time
from contextlib import suppress
from typing import Final

CPU_SHARE: Final = 0.5
"""CPU time that a child may use for a job, as a share of the job's wall-clock timeout. A file that
needs more is hostile: the slowest normal image of 50 megapixels takes two seconds. Time in which
the process waits for a processor does not count (`worker.sandbox.job_clock`)."""

IDLE_CPU_S: Final = 0.01
"""CPU time, in seconds, that a child may use between an answer and the next job. In that time it
only frees the memory of the job."""

TEND_EVERY_S: Final = 1.0
"""Seconds between two checks of idle children. A check kills a child that has computed since the
last check, so an idle child can compute unnoticed for at most this long."""


def cpu_s(pid: int) -> float:
    """Read the CPU clock of a process, in seconds; 0 if it is gone, or not on Linux."""
    if sys.platform == "linux":
        with suppress(OSError):  # the process is gone, which its socket will show
            # the id of another process's CPU clock (clock_getcpuclockid(3))
            return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def limit_cpu(seconds: float) -> None:
    """Have the kernel send SIGXCPU to this process after `seconds` more seconds of CPU time.

    May be repeated. A limit at or above the hard limit is not set, because the hard limit already
    ends the process.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
