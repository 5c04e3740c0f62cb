"""Limit the deliveries of one webhook that a worker has in flight at one time.

Each webhook has a window: it begins at WIDEST, is halved by each failure down to 1, and grows by 1
with each success. A webhook also takes no more slots than are left free for others. So many slow
receivers share the slots evenly, and some slots are always free for the next webhook.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.webhooks.dispatch import Room

WIDEST: Final = 64

MAX_IDLE = 10_000
"""The most webhooks without deliveries in flight whose windows are remembered."""


@dataclass(slots=True)
class Window:
    """One webhook's limit, and its deliveries in flight."""

    limit: int = WIDEST
    in_flight: int = 0


class Windows:
    """The slots of one worker for deliveries; `total` is 1 or more."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._windows: dict[int, Window] = {}

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self._total - self._taken

    @property
    def batch(self) -> int:
        """The number of deliveries to take next: a part of the free slots, for even shares."""
        return -(-self.free // 4)

    @property
    def usual_room(self) -> int:
        """The deliveries that a webhook may take if it has none in flight and has not failed."""
        return min(WIDEST, self.free)

    def rooms(self) -> dict[int, Room]:
        """Return the rooms of all webhooks whose room is not the usual one.

        Webhooks that only fail take at most half of the slots together.
        """
        failing = sum(each.in_flight for each in self._windows.values() if each.limit == 1)
        crowded = failing >= self._total / 2
        return {webhook_id: self._room(each, crowded) for webhook_id, each in self._limited()}

    def _limited(self) -> Iterator[tuple[int, Window]]:
        for webhook_id, each in self._windows.items():
            if each.in_flight or each.limit < WIDEST:
                yield webhook_id, each

    def _room(self, window: Window, crowded: bool) -> Room:
        allowed = min(window.limit, self.free)
        if crowded and window.limit == 1:
            allowed = 0
        return Room(in_flight=window.in_flight, more=max(0, allowed - window.in_flight))

    def enter(self, webhook_id: int) -> None:
        """Count a delivery that begins."""
        self._taken += 1
        self._windows.setdefault(webhook_id, Window()).in_flight += 1

    def leave(self, webhook_id: int, *, accepted: bool | None) -> None:
        """Count an ended delivery; `accepted` is None if the receiver did not cause the end."""
        self._taken -= 1
        window = self._windows[webhook_id]
        window.in_flight -= 1
        if accepted is not None:
            window.limit = min(WIDEST, window.limit + 1) if accepted else max(1, window.limit // 2)
        if not window.in_flight and window.limit == WIDEST:
            del self._windows[webhook_id]
        elif len(self._windows) > MAX_IDLE + self._total:
            self._forget_one()

    def _forget_one(self) -> None:
        for webhook_id, each in self._windows.items():
            if not each.in_flight:
                del self._windows[webhook_id]
                return
