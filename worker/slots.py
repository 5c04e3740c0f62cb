"""The slots of a worker: how many uploads are in flight, and of which organizations.

A quarter of the slots is kept for the sweep. So the sweep can process uploads of dead workers,
uploads without an event and retries in time, even if many wake-ups wait.

Half of that quarter is reserved for newcomers: organizations that have nothing in flight. Each
newcomer gets one of these slots. So it need not wait for an organization whose uploads or purges
hold all other slots. The sweep never takes the reserved slots.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = 0
"""The organization id of a wake-up that does not contain one, until the row is claimed. Real ids
begin with 1."""


@dataclass(slots=True, eq=False)
class Slot:
    """The right of one upload to be in flight.

    `swept` is true if the sweep has taken the slot, `reserved` if it is one of the reserved slots.
    """

    organization: int
    swept: bool
    reserved: bool = False
    was_unknown: bool = False


class Slots:
    """Allows at most `total` uploads in flight. `total` is 3 or more: one slot for wake-ups of any
    organization, one for newcomers, one for the sweep.

    `on_free` is called after a slot may have become free for a wake-up.
    """

    def __init__(self, total: int) -> None:
        self._reserved = max(1, total // 8)
        kept = max(1 + self._reserved, total // 4)
        self._total = total
        self._for_woken = total - kept
        self._batch = max(1, (kept - self._reserved) // 2)
        self._woken = 0
        self._reserved_taken = 0
        self._swept = 0
        self._held: Counter[int] = Counter()
        self._freed = asyncio.Event()
        self.on_free: Callable[[], None] = lambda: None

    def take(self, organization: int) -> Slot | None:
        """Take a slot for a wake-up; return None if the organization may not have one now."""
        if not self._may_take(organization):
            return None
        slot = Slot(organization, swept=False, reserved=not self._has_general())
        self._reserved_taken += slot.reserved
        self._woken += 1
        self._held[organization] += 1
        return slot

    def next_of(self, waiting: Iterable[int]) -> int | None:
        """Return the organization that gets the next free slot; None if none may get it.

        The slot goes to the organization that holds the fewest slots. If several hold the fewest,
        it goes to the first of them in `waiting`, which has the organizations in the order of their
        turns. At most `total` + 1 organizations are read.
        """
        best: int | None = None
        for organization in waiting:
            if best is None or self._held[organization] < self._held[best]:
                best = organization
            if not self._held[best]:
                break
        return best if best is not None and self._may_take(best) else None

    def _may_take(self, organization: int) -> bool:
        if self._has_general():
            return True
        is_newcomer = organization != UNKNOWN and not self._held[organization]
        return is_newcomer and self._reserved_taken < self._reserved

    def _has_general(self) -> bool:
        """Return True if a slot is free for a wake-up of any organization."""
        return self._free() > 0 and self._woken - self._reserved_taken < self._for_woken

    def _free(self) -> int:
        """Return the number of free slots, without the reserved ones."""
        left = self._reserved - self._reserved_taken
        return self._total - self._woken - self._swept - left

    def assign(self, slot: Slot, organization: int) -> None:
        """Correct the organization of a slot, once the row of its upload has been read.

        A slot that was taken for UNKNOWN then counts twice: for UNKNOWN and for the row's
        organization. Otherwise UNKNOWN would always seem to hold the fewest slots and get each free
        one.
        """
        if organization != slot.organization:
            if slot.organization == UNKNOWN:
                slot.was_unknown = True
            else:
                self._drop(slot.organization)
            self._held[organization] += 1
            slot.organization = organization

    def leave(self, slot: Slot) -> None:
        """Free a slot after its upload."""
        self._drop(slot.organization)
        if slot.was_unknown:
            self._drop(UNKNOWN)
        if slot.swept:
            self._swept -= 1
        else:
            self._woken -= 1
            self._reserved_taken -= slot.reserved
        self._notify()

    def take_for_sweep(self) -> int:
        """Take all free slots for the sweep, except the reserved ones; return their number."""
        free = self._free()
        self._swept += free
        return free

    def use_swept(self, organization: int) -> Slot:
        """Use a slot that the sweep has taken for an upload of an organization."""
        self._held[organization] += 1
        return Slot(organization, swept=True)

    def give_back(self, count: int) -> None:
        """Free `count` slots that the sweep has taken but does not use."""
        self._swept -= count
        self._notify()

    async def wait_for_sweep(self) -> None:
        """Wait until so many slots are free that a sweep is worth the cost of its SQL statement."""
        while self._free() < self._batch:
            self._freed.clear()
            await self._freed.wait()

    def _drop(self, organization: int) -> None:
        self._held[organization] -= 1
        if not self._held[organization]:
            del self._held[organization]

    def _notify(self) -> None:
        self.on_free()
        self._freed.set()
