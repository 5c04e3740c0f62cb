"""CPU time of boxed processes: how it is read and limited."""

import math
import resource
import sys
import time
from contextlib import suppress


def cpu_s(pid: int) -> float:
    """Read the CPU clock of a process, in seconds; 0 if it is gone, or not on Linux."""
    if sys.platform == "linux":
        with suppress(OSError):  # it has died, which its socket tells
            # the number of another process's CPU clock (clock_getcpuclockid(3))
            return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def limit_cpu(seconds: float) -> None:
    """Have the kernel end this process by SIGXCPU once it has computed that much longer."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
