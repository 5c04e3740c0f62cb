"""Read and limit the CPU time of sandboxed processes."""

import math
import resource
import sys
import time
from contextlib import suppress


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
