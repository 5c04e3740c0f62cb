"""Share a few places fairly between organizations: each gets a slice of jobs in its turn.

`Slices` decides who is next, and uses no clock, task or process. `Gate` lets tasks wait for their
turn.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.stages import Stage, measured

SLICE_JOBS: Final = 8
"""Jobs that one organization gets in a row while another waits. A fresh decoder costs as much CPU
time as a small JPEG; shared by eight jobs, that cost stays below 15 %."""

SLICE_S: Final = 0.25
"""Seconds after which a slice gets no further job while another organization waits. The last job
may take longer, because a file is never interrupted for another."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Slice:
    """Consecutive jobs of one organization in one place.

    `began` is the value of `now` at the first job, `jobs` the number of jobs that have begun. The
    slice of a newcomer is one job, and goes `ahead` of the others; `paused` is the slice that
    continues after that job.
    """

    organization: int
    began: float
    jobs: int = 0
    ahead: bool = False
    paused: "Slice | None" = None


class Slices(Generic[T]):
    """Waiters by organization, and the places that they wait for.

    While several organizations wait, they get slices in turn. A slice is `slice_jobs` jobs, or
    the jobs that begin within `slice_s` seconds. An organization that holds all places but one does
    not get the last one while another waits. An organization that waits alone may take every place,
    unless `keeps_one` is true: then an organization never holds the last one of several places.

    A newcomer is an organization that had no job here when its first waiter came. It goes ahead of
    all slices with that one job, so its wait does not grow with the number of other organizations.
    Between the beginnings of two slices, each newcomer may go ahead only once, so newcomers cannot
    prevent the next slice.

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
        # slices between two jobs, at most one for each free place, the oldest first
        self._open: list[Slice] = []
        # newcomers, in the order in which they came
        self._newcomers: dict[int, None] = {}
        # organizations that have gone ahead since the last slice began
        self._went_ahead: set[int] = set()

    def wait(self, organization: int, waiter: T) -> None:
        """Add a waiter to the end of its organization's queue."""
        has_jobs = organization in self._waiting or organization in self._busy
        if not has_jobs and all(each.organization != organization for each in self._open):
            self._newcomers[organization] = None
        self._waiting.setdefault(organization, deque()).append(waiter)

    def withdraw(self, organization: int, waiter: T) -> bool:
        """Remove a waiter. Returns False if it was not waiting any more."""
        waiters = self._waiting.get(organization)
        if waiters is None or waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[organization]
            self._newcomers.pop(organization, None)
        return True

    def serve(self, now: float) -> tuple[T, Slice] | None:
        """Give a free place to the next waiter; return None without a waiter or a free place.

        When the job has ended, call `end` with the slice to free the place.
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
        if organization is None:  # only with `keeps_one`
            return None
        if self._is_full_of_open():
            del self._open[0]
        self._went_ahead.clear()
        taken = self._take(Slice(organization, now))
        self._put_last(organization)
        return taken

    def end(self, given: Slice, now: float) -> None:
        """Free the place of an ended job; the job's slice stays open unless it is used up."""
        self._busy[given.organization] -= 1
        if not self._busy[given.organization]:
            del self._busy[given.organization]
        if given.ahead:
            if given.paused is not None:
                given.paused.began += now - given.began  # the paused slice's clock did not run
                self._open.append(given.paused)
        elif self._is_over(given, now):
            self._put_last(given.organization)
        else:
            self._open.append(given)

    def _take_ahead(self, newcomer: int, now: float) -> tuple[T, Slice]:
        """Give a free place to a newcomer for one job; the order of turns stays the same."""
        paused = self._open.pop(0) if self._is_full_of_open() else None
        self._went_ahead.add(newcomer)
        return self._take(Slice(newcomer, now, ahead=True, paused=paused))

    def _is_full_of_open(self) -> bool:
        """Return whether every free place has a slice that may continue there."""
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
    """A fixed number of places. Each is held by one task at a time, in turns by organization.

    The time that a task waits counts for `stage`. `keeps_one` is as in `Slices`.
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
                self._turns.end(waiter.result(), loop.time())  # got its place before the cancel
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
            if waiter.done():  # cancelled, but its task has not run yet to withdraw it
                self._turns.end(given, loop.time())
            else:
                waiter.set_result(given)
