"""How long a job in the box has taken, without the time in which it waited for a processor."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from worker.sandbox.cpu_time import cpu_s

LONGEST: Final = 30
"""A job ends after so many time limits on the wall clock, however little of that it could use."""

LOOKS: Final = 4
"""How often a job is looked at within its time limit, where only its progress tells of waiting."""

T = TypeVar("T")


def waited_s(pid: int) -> float | None:
    """Read for how long a process was ready to run and had no processor, in seconds.

    None where that cannot be read: not on Linux, not with every kernel (proc_pid_schedstat(5)).
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat") as found:
            return int(found.read().split()[1]) / 1e9
    return None


class JobClock:
    """The time limit of one job, from the moment that this is made. `now` is of any steady clock.

    Time in which the process waits for a processor does not count: that is the machine's doing.
    Where the kernel does not tell it, time does not count in which the process computed at all.
    """

    def __init__(self, pid: int, timeout_s: float, now: float) -> None:
        self._pid = pid
        self._timeout_s = timeout_s
        self._began = self._looked = now
        self._waited_before = waited_s(pid)
        self._cpu_before = self._cpu_looked = cpu_s(pid)
        self._excused_s = 0.0

    def left_s(self, now: float) -> float:
        """Return in how many seconds to look again; 0 or less when the time is over."""
        passed = now - self._began
        waited = None if self._waited_before is None else waited_s(self._pid)
        if waited is not None and self._waited_before is not None:
            counted = passed - (waited - self._waited_before)
            return min(self._timeout_s - counted, self._timeout_s * LONGEST - passed)
        cpu = cpu_s(self._pid)
        if cpu > self._cpu_looked:
            self._excused_s += now - self._looked
        self._looked, self._cpu_looked = now, cpu
        left = self._timeout_s - (passed - self._excused_s)
        left = min(left, self._timeout_s * LONGEST - passed)
        return min(left, self._timeout_s / LOOKS)

    def computed_s(self) -> float:
        """Return for how long the process has computed for this job, in seconds."""
        return cpu_s(self._pid) - self._cpu_before


async def in_time(work: Coroutine[Any, Any, T], clock: JobClock) -> T:
    """Wait for work while its clock leaves time; then end it, and raise TimeoutError."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    try:
        while (left_s := clock.left_s(loop.time())) > 0:
            await asyncio.wait({task}, timeout=left_s)
            if task.done():
                return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    raise TimeoutError
