"""Share a few decoders fairly between organizations: each gets a slice of jobs in turn.

Other scarce parts, such as the scanner, are shared in the same way. `Slices` decides who is next;
it uses no clock, task or process. `Gate` lets tasks wait for their turn.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.stages import Stage, measured

SLICE_JOBS: Final = 8
"""Number of jobs that one organization gets in a row while another waits. A fresh decoder costs as
much CPU time as a small JPEG. Shared by eight jobs, that cost stays below 15 %."""

SLICE_S: Final = 0.25
"""Time, in seconds, after which a slice gets no further job while another organization waits. The
last job may take longer, because a job is never interrupted for another."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Slice:
    """Consecutive jobs of one organization in one place, for example in one decoder.

    `began` is the time of the first job, `jobs` the number of jobs so far. If `ahead` is true, this
    slice is the single job of a newcomer, which is served before all other slices. `paused` is the
    slice that continues after that job.
    """

    organization: int
    began: float
    jobs: int = 0
    ahead: bool = False
    paused: "Slice | None" = None


class Slices(Generic[T]):
    """A fixed number of places, and the waiters of each organization for them.

    While several organizations wait, they get slices in turn. A slice is `slice_jobs` jobs, or the
    jobs that begin within `slice_s` seconds. If there are several places, one organization never
    gets all of them while another waits. If no other waits, it may get all of them; but if
    `keeps_one` is true, it leaves one place free.

    A newcomer is an organization that had no job and no waiter here when a waiter came for it. This
    waiter is served before all slices, so its wait does not grow with the number of other
    organizations. Until the next slice begins, each organization is served in this way at most
    once. So newcomers cannot prevent the next slice.

    `now` is in seconds, of any monotonic clock.
    """

    def __init__(
        self,
        places: int,
        *,
        slice_jobs: int = SLICE_JOBS,
        slice_s: float = SLICE_S,
        keeps_one: bool = False,
    ) -> None:
        self._places = places
        self._keeps_one = keeps_one
        self._slice_jobs = slice_jobs
        self._slice_s = slice_s
        # waiters by organization; the first organization has the next turn
        self._waiting: dict[int, deque[T]] = {}
        self._busy: Counter[int] = Counter()
        # Slices that have no job now but may continue. There is at most one for each free place,
        # and the oldest comes first.
        self._open: list[Slice] = []
        # organizations that are newcomers, in the order in which they came
        self._newcomers: dict[int, None] = {}
        # newcomers that were served before the slices since the last slice began
        self._went_ahead: set[int] = set()

    def wait(self, organization: int, waiter: T) -> None:
        """Add a waiter to the end of its organization's queue."""
        has_jobs = organization in self._waiting or organization in self._busy
        if not has_jobs and all(each.organization != organization for each in self._open):
            self._newcomers[organization] = None
        self._waiting.setdefault(organization, deque()).append(waiter)

    def withdraw(self, organization: int, waiter: T) -> bool:
        """Remove a waiter. Returns False if it no longer waits."""
        waiters = self._waiting.get(organization)
        if waiters is None or waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[organization]
            self._newcomers.pop(organization, None)
        return True

    def serve(self, now: float) -> tuple[T, Slice] | None:
        """Give a free place to the next waiter; return None if there is no waiter or no free place.

        After the job, call `end` with the returned slice to free the place.
        """
        if not self._waiting or self._busy.total() >= self._places:
            return None
        for given in list(self._open):
            if self._is_over(given, now):
                self._open.remove(given)
                self._put_last(given.organization)
        for newcomer in self._newcomers:
            if newcomer not in self._went_ahead:
                return self._take_ahead(newcomer, now)
        for given in self._open:
            if given.organization in self._waiting and self._may_take(given.organization):
                self._open.remove(given)
                return self._take(given)
        organization = next((each for each in self._waiting if self._may_take(each)), None)
        # No organization may take the last place. This happens only if `keeps_one` is true.
        if organization is None:
            return None
        if self._is_full_of_open():
            del self._open[0]
        self._went_ahead.clear()
        taken = self._take(Slice(organization, now))
        self._put_last(organization)
        return taken

    def end(self, given: Slice, now: float) -> None:
        """Free the place of an ended job. The slice stays open until its jobs or time are used
        up."""
        self._busy[given.organization] -= 1
        if not self._busy[given.organization]:
            del self._busy[given.organization]
        if given.ahead:
            if given.paused is not None:
                # this job's time does not count for the paused slice
                given.paused.began += now - given.began
                self._open.append(given.paused)
        elif self._is_over(given, now):
            self._put_last(given.organization)
        else:
            self._open.append(given)

    def _take_ahead(self, newcomer: int, now: float) -> tuple[T, Slice]:
        """Give a free place to a newcomer for one job. The order of turns stays the same."""
        paused = self._open.pop(0) if self._is_full_of_open() else None
        self._went_ahead.add(newcomer)
        return self._take(Slice(newcomer, now, ahead=True, paused=paused))

    def _is_full_of_open(self) -> bool:
        """Return True if there are as many open slices as free places."""
        return len(self._open) >= self._places - self._busy.total()

    def _is_over(self, given: Slice, now: float) -> bool:
        return given.jobs >= self._slice_jobs or now - given.began >= self._slice_s

    def _may_take(self, organization: int) -> bool:
        others_wait = len(self._waiting) > (organization in self._waiting)
        has_the_rest = self._busy[organization] >= self._places - 1 > 0
        return not ((others_wait or self._keeps_one) and has_the_rest)

    def _take(self, given: Slice) -> tuple[T, Slice]:
        waiters = self._waiting[given.organization]
        waiter = waiters.popleft()
        if not waiters:
            del self._waiting[given.organization]
        self._newcomers.pop(given.organization, None)
        given.jobs += 1
        self._busy[given.organization] += 1
        return waiter, given

    def _put_last(self, organization: int) -> None:
        waiters = self._waiting.pop(organization, None)
        if waiters is not None:
            self._waiting[organization] = waiters


class Gate:
    """A fixed number of places. One task at a time holds each place. Organizations take turns.

    The time that a task waits is recorded for `stage`. `keeps_one` is explained in `Slices`.
    """

    def __init__(
        self, places: int, *, stage: Stage = "decoder_wait", keeps_one: bool = False
    ) -> None:
        self._turns: Slices[asyncio.Future[Slice]] = Slices(places, keeps_one=keeps_one)
        self._stage = stage

    @asynccontextmanager
    async def turn(self, organization: int) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the `with` block."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Slice] = loop.create_future()
        self._turns.wait(organization, waiter)
        self._serve(loop)
        try:
            with measured(self._stage):
                given = await waiter
        except asyncio.CancelledError:
            if not self._turns.withdraw(organization, waiter) and not waiter.cancelled():
                # this task got its place just before it was cancelled
                self._turns.end(waiter.result(), loop.time())
            self._serve(loop)
            raise
        try:
            yield
        finally:
            self._turns.end(given, loop.time())
            self._serve(loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (served := self._turns.serve(loop.time())) is not None:
            waiter, given = served
            if waiter.done():  # its task was cancelled, but has not called `withdraw` yet
                self._turns.end(given, loop.time())
            else:
                waiter.set_result(given)
