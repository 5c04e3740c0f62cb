"""Wake-ups that a worker has received: begun at once where there is a place, else kept in memory.

They are taken from the broker as fast as they come, since one organization's may lie after
thousands of another's. Those that wait here are forgotten by the broker: what has to be done is
written in the rows. If this process dies, they are due within the grace of publishing, and the
sweep of a worker takes them up. So may be dropped what does not fit.
"""

from collections.abc import Callable
from typing import Final

from shared.lifecycle import WakeUp
from shared.throttle import Throttle
from worker.slots import Place, Places

WAITING_EACH: Final = 5000
"""Wake-ups of one organization that wait, at most; about a minute of work for two decoders. The
sweep takes up the others as they become due."""

WAITING: Final = 20_000
"""Those of all organizations, at most: about 5 MB. Further ones take the places of the newest of
the organization that has most."""

Begin = Callable[[Place, WakeUp, Callable[[], None]], None]
"""Begins to process what a wake-up tells of. The callable is to be called when that has ended."""


class Reception:
    """Wake-ups that wait for a place of this worker, in turns by organization.

    A free place goes to the organization that holds the fewest.
    """

    def __init__(
        self,
        places: Places,
        begin: Begin,
        throttle: Throttle,
        *,
        waiting_each: int = WAITING_EACH,
        waiting: int = WAITING,
    ) -> None:
        self._places = places
        self._begin = begin
        self._throttle = throttle
        self._each = waiting_each
        self._all = waiting
        self._count = 0
        self._open = True
        # By organization, in the order of turns; a wake-up that comes twice waits once.
        self._waiting: dict[int, dict[tuple[int, int], WakeUp]] = {}
        places.on_free = self.serve

    def receive(self, wake_up: WakeUp, done: Callable[[], None] = lambda: None) -> None:
        """Begin what a wake-up tells of, or let it wait for a place.

        `done` is called once the broker may forget the wake-up; not at all after `close`, so that
        the broker gives it to another worker.
        """
        if not self._open:
            return
        organization = wake_up.organization_id
        if organization not in self._waiting and (place := self._places.take(organization)):
            self._begin(place, wake_up, done)
            return
        self._keep(wake_up)
        done()
        self.serve()

    def serve(self) -> None:
        """Begin what has waited, as far as there are places."""
        while self._open and (chosen := self._places.next_of(self._waiting)) is not None:
            place = self._places.take(chosen)
            assert place is not None
            waiting = self._waiting.pop(chosen)
            wake_up = waiting.pop(next(iter(waiting)))
            self._count -= 1
            if waiting:
                self._waiting[chosen] = waiting  # after all others
            self._begin(place, wake_up, lambda: None)

    def close(self) -> list[WakeUp]:
        """Begin nothing more; returns what waits, for other workers."""
        self._open = False
        left = [wake_up for waiting in self._waiting.values() for wake_up in waiting.values()]
        self._waiting.clear()
        self._count = 0
        return left

    def _keep(self, wake_up: WakeUp) -> None:
        waiting = self._waiting.setdefault(wake_up.organization_id, {})
        named = (wake_up.attachment_id, wake_up.revision)
        if named in waiting:
            return
        if len(waiting) >= self._each:
            self._tell_dropped(wake_up.organization_id)
            return
        waiting[named] = wake_up
        self._count += 1
        if self._count > self._all:
            most = max(self._waiting, key=lambda each: len(self._waiting[each]))
            self._waiting[most].popitem()
            self._count -= 1
            if not self._waiting[most]:
                del self._waiting[most]
            self._tell_dropped(most)

    def _tell_dropped(self, organization: int) -> None:
        self._throttle(
            "wake-ups left to the sweep", cause="too many wait", organization=organization
        )
