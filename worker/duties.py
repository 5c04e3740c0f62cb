"""Do the work that a due row needs: an attempt, a copy, a check of the store, or a purge."""

from shared import lifecycle
from shared.database import DatabaseAway
from shared.due import Due, Duty
from shared.erasure import Eraser
from shared.errors import StoreError, StoreRefused
from shared.lifecycle import Claim, WakeUp
from shared.log import get_logger
from shared.log_fields import Fields
from shared.throttle import Throttle
from worker.attempts import Attempts
from worker.checking import check_object
from worker.copying import Copying
from worker.measuring import SWEEP_RECOVERED
from worker.patience import (
    LONGEST_CHECK_PAUSE_S,
    LONGEST_PURGE_PAUSE_S,
    Gate,
    pause_s,
    report,
)
from worker.purging import purge
from worker.slots import Slot
from worker.tools import Tools

log = get_logger(__name__)


class Duties:
    """Does the work of due rows.

    If the store denies a call or is unavailable, the row is postponed.
    """

    def __init__(
        self, tools: Tools, attempts: Attempts, copying: Copying, throttle: Throttle
    ) -> None:
        self._tools = tools
        self._attempts = attempts
        self._copying = copying
        self._throttle = throttle
        self._eraser = Eraser(tools.storage)
        self._gates = {Duty.CHECK: Gate(), Duty.PURGE: Gate()}

    async def fulfil(self, due: Due, slot: Slot) -> None:
        """Do the work of a row that the sweep has taken. The caller frees the slot.

        Raises only CancelledError. If the work fails, the row is due again after one lease, because
        the sweep has already set that time.
        """
        row = due.attachment
        with Fields(organization=row.organization_id, attachment=row.id):
            await self._fulfil(due, slot)

    async def _fulfil(self, due: Due, slot: Slot) -> None:
        row = due.attachment
        try:
            match due.duty:
                case Duty.PROCESS:
                    await self._attempts.attempt(slot, Claim(attachment=row))
                case Duty.CHECK if row.copy_key is not None:
                    self._copying.begin(row.id, row.organization_id, row.copy_attempt)
                case Duty.CHECK:
                    if (wake_up := await self._settle(due)) is not None:
                        await self._process_found(wake_up, slot)
                case Duty.PURGE:
                    await self._settle(due)
                case Duty.GIVEN_UP:
                    log.warning("attempts used up", attempt=row.attempt, reason=row.reason)
        except DatabaseAway:  # `shared.outages` logs it
            pass
        except Exception:
            log.exception("unexpected error", attachment=row.id, duty=due.duty)

    async def _process_found(self, wake_up: WakeUp, slot: Slot) -> None:
        """Claim and process the upload that a check has found; do nothing if it is claimed."""
        claim = await self._tools.database.run(
            lifecycle.claim,
            wake_up.attachment_id,
            wake_up.revision,
            lease_s=self._tools.settings.lease,
        )
        if claim is not None:
            SWEEP_RECOVERED.labels("no_event").inc()
            await self._attempts.attempt(slot, claim)

    async def _settle(self, due: Due) -> WakeUp | None:
        """Check or purge a row. If a check finds an upload, return the wake-up for it.

        May be repeated. If the store denies a call or is unavailable, the row is postponed, each
        time for longer. There is one gate for checks and one for purges. While the gate is closed,
        the row is postponed without a call to the store. Raises DatabaseAway.
        """
        gate = self._gates[due.duty]
        if (failure := gate.closed()) is not None:
            await self._postpone(due, failure)
            return None
        try:
            if due.duty is Duty.CHECK:
                return await check_object(self._tools, due.attachment, gate=gate)
            if due.attachment.bucket != self._tools.storage.bucket:
                # The store is not at fault here. So raise outside `gate.watch`: the gate must not
                # count this error and then stop the purges of other rows.
                raise StoreRefused(f"the row names bucket {due.attachment.bucket}")
            with gate.watch():
                await purge(self._tools, self._eraser, due.attachment)
        except StoreError as error:
            await self._postpone(due, error)
        return None

    async def _postpone(self, due: Due, error: StoreError) -> None:
        row = due.attachment
        longest_s = LONGEST_PURGE_PAUSE_S if due.duty is Duty.PURGE else LONGEST_CHECK_PAUSE_S
        delay_s = pause_s(row.attempt, first_s=self._tools.settings.lease, longest_s=longest_s)
        # `report` may write the log line later, when the fields that `fulfil` sets are gone.
        fields = {"organization": row.organization_id, "attachment": row.id}
        report(self._throttle, f"{due.duty} postponed", error, **fields)
        await self._tools.database.run(lifecycle.postpone, row, delay_s=delay_s)
