"""The wake-ups that a worker has received: started at once if a slot is free, else kept in memory.

Wake-ups are taken off the broker at once, even if no slot is free. Otherwise, thousands of wake-ups
of one organization could block those of another in the broker's queue. The broker has no copy of a
wake-up that was taken. No upload is lost if a wake-up is dropped or this process dies: the upload's
row becomes due when the grace time for publishing or the lease is over, and then the sweep takes
it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from shared.database import Database, DatabaseAway
from shared.due import make_due
from shared.lifecycle import WakeUp
from shared.log import get_logger
from shared.throttle import Throttle
from worker.jobs import Jobs
from worker.measuring import WAKE_UPS_WAITING
from worker.slots import Slot, Slots

WAITING_EACH: Final = 5000
"""Maximum number of waiting wake-ups of one organization: about a minute of work for two decoders.
If more come, the sweep takes their uploads when they are due."""

WAITING: Final = 20_000
"""Maximum number of waiting wake-ups of all organizations: about 5 MB. If one more comes, the
newest wake-up of the organization with the most waiting wake-ups is dropped."""

ROWS_PER_STATEMENT = 1000
"""Maximum number of rows that one statement makes due for other workers when this worker stops."""

Attempt = Callable[[Slot, WakeUp], Coroutine[Any, Any, None]]
"""A function that processes the upload of a wake-up in a slot."""

log = get_logger(__name__)


class Reception:
    """Keeps wake-ups until this worker has a slot for them.

    Organizations take turns. A free slot goes to the organization that holds the fewest slots.
    """

    def __init__(
        self,
        slots: Slots,
        jobs: Jobs,
        attempt: Attempt,
        throttle: Throttle,
        *,
        waiting_each: int = WAITING_EACH,
        waiting: int = WAITING,
    ) -> None:
        self._slots = slots
        self._jobs = jobs
        self._attempt = attempt
        self._throttle = throttle
        self._each = waiting_each
        self._all = waiting
        self._count = 0
        self._open = True
        # The waiting wake-ups, by organization. The organization whose turn is next comes first. A
        # wake-up that arrives twice is stored once.
        self._waiting: dict[int, dict[tuple[int, int], WakeUp]] = {}
        slots.on_free = self._serve

    def receive(self, wake_up: WakeUp) -> None:
        """Start to process the upload of a wake-up, or keep the wake-up until a slot is free.

        Does nothing after `close`.
        """
        if not self._open:
            return
        organization = wake_up.organization_id
        if organization not in self._waiting and (slot := self._slots.take(organization)):
            job = self._jobs.start(self._attempt(slot, wake_up))
            job.add_done_callback(partial(self._end, slot))
            return
        self._keep(wake_up)
        self._serve()

    def close(self) -> list[WakeUp]:
        """Refuse further wake-ups. Return the waiting ones, so that other workers can take them."""
        self._open = False
        left = [wake_up for waiting in self._waiting.values() for wake_up in waiting.values()]
        self._waiting.clear()
        self._count = 0
        return left

    def _serve(self) -> None:
        """Start the wake-ups that wait, as long as slots are free."""
        while self._open and (chosen := self._slots.next_of(self._waiting)) is not None:
            slot = self._slots.take(chosen)
            assert slot is not None
            waiting = self._waiting.pop(chosen)
            wake_up = waiting.pop(next(iter(waiting)))
            self._count -= 1
            WAKE_UPS_WAITING.set(self._count)
            if waiting:
                self._waiting[chosen] = waiting  # move the organization to the end
            job = self._jobs.start(self._attempt(slot, wake_up))
            job.add_done_callback(partial(self._end, slot))

    def _end(self, slot: Slot, _: asyncio.Task[None]) -> None:
        self._slots.leave(slot)

    def _keep(self, wake_up: WakeUp) -> None:
        waiting = self._waiting.setdefault(wake_up.organization_id, {})
        named = (wake_up.attachment_id, wake_up.revision)
        if named in waiting:
            return
        if len(waiting) >= self._each:
            self._log_dropped(wake_up.organization_id)
            return
        waiting[named] = wake_up
        self._count += 1
        WAKE_UPS_WAITING.set(self._count)
        if self._count > self._all:
            # Drop the newest wake-up of the organization with the most wake-ups. If several have
            # the most, choose the one whose turn comes last.
            most = max(reversed(self._waiting), key=lambda each: len(self._waiting[each]))
            self._waiting[most].popitem()
            self._count -= 1
            if not self._waiting[most]:
                del self._waiting[most]
            self._log_dropped(most)

    def _log_dropped(self, organization: int) -> None:
        self._throttle(
            "wake-ups left to the sweep", cause="too many wait", organization=organization
        )


async def leave_to_others(database: Database, wake_ups: list[WakeUp]) -> None:
    """Make the uploads of wake-ups due now, so that the next sweep of any worker takes them."""
    changed = 0
    try:
        for first in range(0, len(wake_ups), ROWS_PER_STATEMENT):
            some = wake_ups[first : first + ROWS_PER_STATEMENT]
            changed += await database.run(make_due, some)
        if changed:
            log.info("waiting uploads released to other workers", uploads=changed)
    except DatabaseAway as error:  # the uploads become due after the grace time for publishing
        log.info("waiting uploads not released to other workers", error=str(error))
