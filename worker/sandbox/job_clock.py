"""Measure how long a sandboxed job has run, without the time in which it waited for a processor."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from worker.sandbox.cpu_time import cpu_s

LONGEST: Final = 30
"""Maximum duration of a job as a multiple of its timeout. This maximum applies even if the process
of the job hardly ran in that time."""

LOOKS: Final = 4
"""Number of times that a job is checked during its timeout. It matters only if the kernel does not
report how long the process waited."""

T = TypeVar("T")


def waited_s(pid: int) -> float | None:
    """Return for how many seconds a process was ready to run but waited for a processor.

    Returns None if that cannot be read: outside Linux, and with some kernels
    (proc_pid_schedstat(5)).
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat") as found:
            return int(found.read().split()[1]) / 1e9
    return None


class JobClock:
    """The timeout of one job. It starts when this object is created.

    `now` is in seconds, of any monotonic clock. The time in which the process waits for a processor
    does not count, because the machine causes the wait and not the file. Some kernels do not report
    that time. Then the time between two checks does not count if the process used CPU time in it,
    because it may also have waited. This cannot last forever: CPU time has a limit of its own.
    """

    def __init__(self, pid: int, timeout_s: float, now: float) -> None:
        self._pid = pid
        self._timeout_s = timeout_s
        self._began = self._looked = now
        self._waited_before = waited_s(pid)
        self._cpu_before = self._cpu_looked = cpu_s(pid)
        self._excused_s = 0.0

    def left_s(self, now: float) -> float:
        """Return the seconds until the next check; 0 or less if the timeout is over."""
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
        """Return the CPU time that the process has used for this job, in seconds."""
        return cpu_s(self._pid) - self._cpu_before


async def in_time(work: Coroutine[Any, Any, T], clock: JobClock) -> T:
    """Return the result of `work`, or cancel it and raise TimeoutError when `clock` runs out.

    If the caller is cancelled, `work` is cancelled as well.
    """
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
