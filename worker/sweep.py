"""The sweep: decides when a worker takes due rows, and how many.

It finds all work for which no message arrives: lost wake-ups, retries, uploads of dead workers,
deletions. If the broker is down, all work comes from the sweep. `worker.duties` does the work that
the rows need.
"""

import asyncio
from contextlib import suppress

from shared.database import DatabaseAway
from shared.due import Due, take_due
from shared.jitter import spread, within
from shared.liveness import Beat
from shared.log import get_logger
from worker.duties import Duties
from worker.jobs import Jobs
from worker.measuring import SWEEP_RAN, count_due
from worker.slots import Slots
from worker.tools import Tools

DATABASE_AWAY_PAUSE_S = 2.0
"""Longest pause, in seconds, after a sweep that could not reach the database."""

log = get_logger(__name__)


class Sweep:
    """The sweep of one worker. It runs again at once when `given_back` is set."""

    def __init__(
        self,
        tools: Tools,
        slots: Slots,
        jobs: Jobs,
        duties: Duties,
        beat: Beat,
        *,
        given_back: asyncio.Event,
    ) -> None:
        self._tools = tools
        self._slots = slots
        self._jobs = jobs
        self._duties = duties
        self._beat = beat
        self._given_back = given_back
        self._walked_to = 0

    async def run(self) -> None:
        """Take due rows every sweep interval, as many as there are free slots, until cancelled.

        If more rows are due than slots are free, the next sweep runs as soon as slots are free
        again. After an outage of the database it runs within seconds.
        """
        interval = self._tools.settings.sweep_interval
        await asyncio.sleep(within(min(interval, 2)))
        while True:
            free, taken, pause_s = self._slots.take_for_sweep(), 0, interval
            self._given_back.clear()
            self._beat.beat()
            try:
                if free and self._tools.bucket.foreign is None:
                    # Shielded, because cancelling the sweep must not cancel a claim in flight.
                    taken = await asyncio.shield(self._jobs.start(self._take(free)))
            except DatabaseAway:  # `shared.outages` logs it
                pause_s = min(interval, DATABASE_AWAY_PAUSE_S)
            except Exception:
                log.exception("sweep failed")
            finally:
                self._slots.give_back(free - taken)
            if taken and taken == free:
                with self._beat.resting():  # waiting for busy slots is no fault, even if it is long
                    await self._slots.wait_for_sweep()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(spread(pause_s)):
                        await self._given_back.wait()

    async def _take(self, limit: int) -> int:
        """Take up to `limit` due rows and start a job for each; return their number."""
        settings = self._tools.settings
        found = await self._tools.database.run(
            take_due,
            limit=limit,
            lease_s=settings.lease,
            attempts=settings.attempts,
            after=self._walked_to,
        )
        self._walked_to = found.walked_to
        SWEEP_RAN.set_to_current_time()
        for due in found.due:
            count_due(due)
            self._jobs.start(self._handle(due))
        return len(found.due)

    async def _handle(self, due: Due) -> None:
        slot = self._slots.use_swept(due.attachment.organization_id)
        try:
            await self._duties.fulfil(due, slot)
        finally:
            self._slots.leave(slot)
