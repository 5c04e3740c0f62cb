"""The places of a worker: how many uploads are in flight, and whose they are.

A quarter is kept for the sweep: however many wake-ups wait, what a dead worker had, what was lost
and what is to be tried again are taken up in their time. With the broker away the sweep has all.

One of that quarter is lent to an organization that has no upload in flight: it need not wait
until one of the organization that has the other places ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = 0
"""The organization of a wake-up that names none, until its row is claimed; ids begin with 1."""


@dataclass(slots=True, eq=False)
class Place:
    """A place that one upload holds."""

    organization: int
    swept: bool


class Places:
    """At most `total` uploads in flight, which is 2 or more.

    `on_free` is called whenever a place has become free for what the broker brings.
    """

    def __init__(self, total: int) -> None:
        kept = max(1, total // 4)
        self._total = total
        self._for_woken = total - kept
        # one place is not lent where the sweep has no other
        self._lent = 1 if kept > 1 else 0
        self._batch = max(1, kept // 2)
        self._woken = 0
        self._swept = 0
        self._held: Counter[int] = Counter()
        self._freed = asyncio.Event()
        self.on_free: Callable[[], None] = lambda: None

    def take(self, organization: int) -> Place | None:
        """Take a place for what the broker brought, if the organization may have one now."""
        if not self._may_take(organization):
            return None
        self._woken += 1
        self._held[organization] += 1
        return Place(organization, swept=False)

    def next_of(self, waiting: Iterable[int]) -> int | None:
        """Tell which organization has the next free place, if there is one for any of them.

        It is the one that holds the fewest; of equals, the first of `waiting`, whose order is that
        of turns. At most as many are looked at as there are places, and one more.
        """
        best: int | None = None
        for organization in waiting:
            if best is None or self._held[organization] < self._held[best]:
                best = organization
            if not self._held[best]:
                break
        return best if best is not None and self._may_take(best) else None

    def _may_take(self, organization: int) -> bool:
        if self._woken + self._swept >= self._total:
            return False
        lent = 0 if self._held[organization] else self._lent
        return self._woken < self._for_woken + lent

    def assign(self, place: Place, organization: int) -> None:
        """Note whose upload it is that holds a place, once that is known for sure."""
        if organization != place.organization:
            self._drop(place.organization)
            self._held[organization] += 1
            place.organization = organization

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._drop(place.organization)
        if place.swept:
            self._swept -= 1
        else:
            self._woken -= 1
        self._tell()

    def take_for_sweep(self) -> int:
        """Take every place that is free, for the sweep; returns how many those are."""
        free = self._total - self._woken - self._swept
        self._swept += free
        return free

    def use_swept(self, organization: int) -> Place:
        """Note whose upload has one of the places that the sweep has taken."""
        self._held[organization] += 1
        return Place(organization, swept=True)

    def give_back(self, count: int) -> None:
        """Give back places that the sweep has taken and found no use for."""
        self._swept -= count
        self._tell()

    async def wait_for_sweep(self) -> None:
        """Wait until so many places are free that another sweep is worth its statement."""
        while self._total - self._woken - self._swept < self._batch:
            self._freed.clear()
            await self._freed.wait()

    def _drop(self, organization: int) -> None:
        self._held[organization] -= 1
        if not self._held[organization]:
            del self._held[organization]

    def _tell(self) -> None:
        self.on_free()
        self._freed.set()
