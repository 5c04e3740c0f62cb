"""Limit how many deliveries of one webhook a worker has in flight at one time.

Each webhook has a window: the limit for its deliveries in flight. The window begins at WIDEST. A
failure halves it, down to 1, and a success adds 1. In addition, a webhook never takes more slots
than it leaves free. As a result, slow receivers share the slots evenly even if there are many of
them, and some slots stay free for the next webhook.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.webhooks.dispatch import Room

WIDEST: Final = 64

MAX_IDLE = 10_000
"""Maximum number of webhooks without deliveries in flight whose windows are remembered."""


@dataclass(slots=True)
class Window:
    """The limit of one webhook, and the number of its deliveries in flight."""

    limit: int = WIDEST
    in_flight: int = 0


class Windows:
    """The slots of one worker for deliveries. `total` is 1 or more."""

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
        """How many deliveries to take next: a quarter of the free slots, to keep shares even."""
        return -(-self.free // 4)

    @property
    def usual_room(self) -> int:
        """How many deliveries a webhook may take if it has none in flight and has not failed."""
        return min(WIDEST, self.free)

    def rooms(self) -> dict[int, Room]:
        """Return how many deliveries each webhook may take, by the webhook's id.

        Webhooks that may take the usual number are left out. Webhooks that only fail take at most
        half of the slots together.
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
        """Count a delivery that begins to be sent."""
        self._taken += 1
        self._windows.setdefault(webhook_id, Window()).in_flight += 1

    def leave(self, webhook_id: int, *, accepted: bool | None) -> None:
        """Count an ended delivery. `accepted` is None if the receiver did not cause the end."""
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
