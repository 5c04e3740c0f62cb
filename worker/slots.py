"""The slots of a worker: how many uploads are in flight, and of which organizations.

A quarter of the slots is kept for the sweep. So uploads of dead workers, uploads without an event
and retries are processed in time, no matter how many wake-ups wait. Without a broker the sweep has
all slots.

One slot of that quarter is lent to an organization that has no upload in flight. So this
organization need not wait for an upload of another organization that has all other slots.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = 0
"""Stands for the organization of a wake-up that names none, until the row is claimed. Real ids
begin with 1."""


@dataclass(slots=True, eq=False)
class Slot:
    """The right of one upload to be in flight. `swept` is true if the sweep has taken it."""

    organization: int
    swept: bool


class Slots:
    """At most `total` uploads in flight; `total` is 2 or more.

    `on_free` is called whenever a slot may have become free for a wake-up.
    """

    def __init__(self, total: int) -> None:
        kept = max(1, total // 4)
        self._total = total
        self._for_woken = total - kept
        # If the sweep has only one slot, it is not lent.
        self._lent = 1 if kept > 1 else 0
        self._batch = max(1, kept // 2)
        self._woken = 0
        self._swept = 0
        self._held: Counter[int] = Counter()
        self._freed = asyncio.Event()
        self.on_free: Callable[[], None] = lambda: None

    def take(self, organization: int) -> Slot | None:
        """Take a slot for a wake-up; return None if the organization may not have one now."""
        if not self._may_take(organization):
            return None
        self._woken += 1
        self._held[organization] += 1
        return Slot(organization, swept=False)

    def next_of(self, waiting: Iterable[int]) -> int | None:
        """Return which organization gets the next free slot; None if no slot is free for any.

        That organization holds the fewest slots. If several hold equally few, it is the first of
        them in `waiting`, which is in the order of turns. At most `total` + 1 organizations are
        looked at.
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

    def assign(self, slot: Slot, organization: int) -> None:
        """Correct the organization of a slot, once the row of its upload has been read."""
        if organization != slot.organization:
            self._drop(slot.organization)
            self._held[organization] += 1
            slot.organization = organization

    def leave(self, slot: Slot) -> None:
        """Free a slot."""
        self._drop(slot.organization)
        if slot.swept:
            self._swept -= 1
        else:
            self._woken -= 1
        self._notify()

    def take_for_sweep(self) -> int:
        """Take all free slots for the sweep; return how many."""
        free = self._total - self._woken - self._swept
        self._swept += free
        return free

    def use_swept(self, organization: int) -> Slot:
        """Use one of the slots that the sweep has taken, for an upload of an organization."""
        self._held[organization] += 1
        return Slot(organization, swept=True)

    def give_back(self, count: int) -> None:
        """Free slots that the sweep has taken and does not use."""
        self._swept -= count
        self._notify()

    async def wait_for_sweep(self) -> None:
        """Wait until so many slots are free that another sweep is worth its statement."""
        while self._total - self._woken - self._swept < self._batch:
            self._freed.clear()
            await self._freed.wait()

    def _drop(self, organization: int) -> None:
        self._held[organization] -= 1
        if not self._held[organization]:
            del self._held[organization]

    def _notify(self) -> None:
        self.on_free()
        self._freed.set()
