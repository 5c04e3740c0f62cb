"""Probe and purge due rows for the sweep, and delay them while the store refuses or is away."""

import time

from shared import lifecycle
from shared.attachments import Attachment
from shared.due import Due, Duty
from shared.erasure import Eraser, places_of
from shared.errors import StoreError, StoreRefused
from shared.lifecycle import WakeUp
from shared.log import get_logger
from shared.part_copies import remove_unfinished
from shared.throttle import Throttle
from worker.patience import (
    LONGEST_PROBE_PAUSE_S,
    LONGEST_PURGE_PAUSE_S,
    Gate,
    cause_of,
    pause_s,
)
from worker.pipeline import Tools
from worker.sweep import probe

log = get_logger(__name__)


class Caretaker:
    """Probes and purges due rows, and delays those for which the store refuses or is away."""

    def __init__(self, tools: Tools, throttle: Throttle) -> None:
        self._tools = tools
        self._throttle = throttle
        self._eraser = Eraser(tools.storage)
        self._gates = {Duty.PROBE: Gate(), Duty.PURGE: Gate()}

    async def settle(self, due: Due) -> WakeUp | None:
        """Probe or purge a row; return the wake-up of an upload that a probe has found.

        If the store refuses or is away, delays the row by pauses that grow. While the gate of the
        row's duty is closed, does so without a call to the store. Raises DatabaseAway. May be
        repeated.
        """
        gate = self._gates[due.duty]
        if (cause := gate.closed()) is not None:
            await self._put_off(due, cause)
            return None
        try:
            if due.duty is Duty.PROBE:
                return await probe(self._tools, due.attachment, gate=gate)
            with gate.watch():
                await self._purge(due.attachment)
        except StoreError as error:
            await self._put_off(due, cause_of(error))
        return None

    async def _purge(self, row: Attachment) -> None:
        """Remove all versions of a deleted attachment's objects, for at most 80 % of the lease."""
        await self._tools.bucket.require_known_ours()
        if row.bucket != self._tools.storage.bucket:
            raise StoreRefused(f"the row names bucket {row.bucket}")
        database, lease_s = self._tools.database, self._tools.settings.lease
        if self._tools.bucket.has_nothing_of(row):
            await database.run(lifecycle.settle_purged, row.id)
            log.info("nothing to purge is known to be the row's own", attachment=row.id)
            return
        began = time.monotonic()
        age_s = await database.run(lifecycle.row_age_s, row.id)
        if age_s is None:
            return
        if row.copy_attempt:
            await remove_unfinished(self._tools.storage, row.key)
        ended = await self._eraser.erase(
            places_of(row),
            row_age_s=lambda: age_s + time.monotonic() - began,
            give_up_at=began + lease_s * 0.8,
        )
        if ended:
            await database.run(lifecycle.settle_purged, row.id)
            log.info("purged", attachment=row.id)
        else:  # the row is due again after its lease
            log.info("purged in part", attachment=row.id)

    async def _put_off(self, due: Due, cause: str) -> None:
        row = due.attachment
        longest_s = LONGEST_PURGE_PAUSE_S if due.duty is Duty.PURGE else LONGEST_PROBE_PAUSE_S
        delay_s = pause_s(row.attempt, first_s=self._tools.settings.lease, longest_s=longest_s)
        self._throttle(f"{due.duty} put off", cause=cause, attachment=row.id)
        await self._tools.database.run(lifecycle.put_off, row, delay_s=delay_s)
