"""One attempt at one upload: claim it, process it, and write the result.

`worker.pipeline` writes the outcome of an upload that it could examine. This module writes all
other results: a missing object, a failure that is retried, a claim that is released.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared import lifecycle, older_objects
from shared.database import DatabaseAway
from shared.errors import (
    ClaimLost,
    ObjectMissing,
    ObjectOlder,
    ScannerUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from shared.lifecycle import Claim, Outcome, WakeUp
from shared.log import get_logger
from shared.log_fields import Fields, add_fields
from shared.reasons import ReasonCode
from shared.states import State
from shared.throttle import Throttle
from worker.attempt_spans import attempt_span, fields_of, note_claim, note_outcome, trace_fields
from worker.copying import Copying
from worker.jobs import Jobs
from worker.leases import Leases
from worker.measuring import LEASES_LOST, Measured, measured_attempt
from worker.patience import backoff_s, reason_of, report
from worker.pipeline import process
from worker.scanning.scanner import scan_fields
from worker.slots import Slot, Slots
from worker.stages import rounded
from worker.thumbnails import drop_thumbnails
from worker.tools import Tools

DATABASE_RETRY_S = 1.0
"""Pause, in seconds, between two tries to claim or release an upload while the database is away."""

log = get_logger(__name__)


class Attempts:
    """Makes attempts at uploads. To start the sweep immediately, it sets the event `given_back`."""

    def __init__(
        self,
        tools: Tools,
        slots: Slots,
        leases: Leases,
        copying: Copying,
        jobs: Jobs,
        throttle: Throttle,
        *,
        given_back: asyncio.Event,
    ) -> None:
        self._tools = tools
        self._settings = tools.settings
        self._database = tools.database
        self._slots = slots
        self._leases = leases
        self._copying = copying
        self._jobs = jobs
        self._throttle = throttle
        self._given_back = given_back

    async def attempt(self, slot: Slot, found: WakeUp | Claim) -> None:
        """Make one attempt at an upload, and write the result in its row.

        `found` is a wake-up, whose upload is then claimed, or a claim that the sweep has made.
        Raises only CancelledError, after releasing the claim. The caller frees the slot.
        """
        with (
            attempt_span(found) as span,
            Fields(**fields_of(found), **trace_fields(span)),
        ):
            try:
                claim = found if isinstance(found, Claim) else await self._claim(slot, found)
                if claim is None:
                    return
                add_fields(**fields_of(claim))
                note_claim(claim)
                with measured_attempt(claim.attachment) as attempt:
                    async with self._holding(claim):
                        try:
                            outcome = await process(self._tools, claim)
                        except DatabaseAway:
                            raise
                        except Exception as error:
                            await self._settle(claim, attempt, error)
                        else:
                            _record(attempt, outcome)
            except Exception:
                log.exception("unexpected error")

    async def _claim(self, slot: Slot, wake_up: WakeUp) -> Claim | None:
        """Claim the upload of a wake-up; return None if the upload must not be processed now.

        While the database is unavailable, the claim is retried for at most `publish_grace` seconds.
        After that time, the row is due, and a sweep claims it.
        """
        if self._tools.bucket.foreign is not None:
            # The bucket belongs to another deployment. The row stays due, in case this changes.
            return None
        attachment_id = wake_up.attachment_id
        give_up_at: float | None = None
        while True:
            try:
                claim = await self._database.run(
                    lifecycle.claim, attachment_id, wake_up.revision, lease_s=self._settings.lease
                )
                break
            except DatabaseAway:
                if give_up_at is None:
                    log.debug("claim waits for the database")
                    give_up_at = _now() + self._settings.publish_grace
                if self._jobs.stopping or _now() > give_up_at:
                    claim = None
                    break
            await asyncio.sleep(DATABASE_RETRY_S)
        if claim is not None:
            self._slots.assign(slot, claim.attachment.organization_id)
        else:  # the wake-up may request a copy
            self._copying.begin(attachment_id, None, None)
        return claim

    @asynccontextmanager
    async def _holding(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the lease during the block. Release the claim after DatabaseAway or CancelledError.

        DatabaseAway is not raised again, but CancelledError is.
        """
        self._leases.hold(claim)
        try:
            yield
        except DatabaseAway:
            log.debug("upload is given back once the database answers")
            await self._give_back_later(claim)
        except asyncio.CancelledError:
            try:
                await asyncio.shield(self._give_back(claim))
            except DatabaseAway:
                if not self._jobs.stopping:
                    await self._give_back_later(claim)
            raise
        finally:
            self._leases.drop(claim)

    async def _settle(self, claim: Claim, attempt: Measured, error: Exception) -> None:
        """Write in the row why an attempt has failed. Raises DatabaseAway."""
        row = claim.attachment
        if isinstance(error, ObjectMissing | ObjectOlder):
            try:
                await self._record_no_object(claim, attempt, error)
                return
            except DatabaseAway:
                raise
            except Exception as failure:  # the store may fail here too
                error = failure
        match error:
            case ClaimLost():
                log.info("another worker took over", attachment=row.id)
                attempt.result = "lost"
                LEASES_LOST.inc()
                self._leases.drop(claim)
                await self._give_back(claim)
            case _:
                reason = reason_of(error)
                if reason == "internal_error":
                    log.exception("unexpected error", attachment=row.id, exc_info=error)
                await self._try_again(claim, attempt, reason, error)

    async def _record_no_object(
        self, claim: Claim, attempt: Measured, error: ObjectMissing | ObjectOlder
    ) -> None:
        """Record that the row's object is missing or too old, and remove the row's thumbnail."""
        row = claim.attachment
        missing = isinstance(error, ObjectMissing)
        await drop_thumbnails(self._tools.storage, row)
        state = await self._database.run(
            lifecycle.mark_missing if missing else older_objects.set_aside,
            claim,
            revision=row.claimed_revision,
            next_check_s=self._settings.pending_check,
        )
        await self._end(claim, attempt, state)
        event = "no object" if missing else "object is not used: it is older than its row"
        log.info(event, attachment=row.id, state=state)

    async def _end(self, claim: Claim, attempt: Measured, state: State | None) -> None:
        """Count an attempt that found no object. `state` is the state that was written to the row.

        If `state` is None, nothing was written, because a newer upload was recorded meanwhile. That
        newer upload is then processed at once.
        """
        if state == "failed":
            missing = Outcome(state=state, reason="missing")
            _record(attempt, missing, declared=claim.attachment.size)
        elif state is None:
            attempt.result = "retried"
            await self._process_again(claim)
        else:  # the row waits for an upload, which may still come
            attempt.result = "ended"

    async def _process_again(self, claim: Claim) -> None:
        """Let the upload be processed again now, because a newer object was recorded meanwhile."""
        if await self._database.run(lifecycle.release, claim, delay_s=0.0) is None:
            await self._database.run(lifecycle.process_again, claim.attachment.id)

    async def _try_again(
        self, claim: Claim, attempt: Measured, reason: ReasonCode, error: Exception
    ) -> None:
        """Release the claim until the next attempt is due; after the last one, write `failed`."""
        row = claim.attachment
        last = row.attempt >= self._settings.attempts
        # `report` may write the log line after this attempt. The attempt's log fields are gone
        # then, so pass them here.
        fields = {**fields_of(claim), "reason": reason, "final": last}
        if isinstance(error, StoreRefused | StoreUnavailable | ScannerUnavailable):
            # A fault of the store or the scanner affects all uploads, so throttle the log line.
            report(self._throttle, "attempt failed", error, **fields)
        else:
            log.warning("attempt failed", **fields, error=f"{type(error).__name__}: {error}")
        outcome = Outcome(state="failed", reason=reason)
        if last and await self._database.run(
            lifecycle.finish,
            claim,
            outcome,
            revision=row.claimed_revision,
            next_check_s=self._settings.pending_check,
        ):
            _record(attempt, outcome, declared=row.size)
            return
        attempt.result = "retried"
        await self._database.run(
            lifecycle.release, claim, delay_s=backoff_s(row.attempt), reason=reason
        )

    async def _give_back(self, claim: Claim) -> None:
        """Release the claim. Do not count the attempt, because the upload is not at fault.

        If another worker already has the claim, let the upload be processed again, because this
        worker may have overwritten the other worker's thumbnail.
        """
        if not self._leases.holds(claim) or (
            await self._database.run(lifecycle.release, claim, delay_s=0.0, counted=False) is None
        ):
            await self._database.run(lifecycle.process_again, claim.attachment.id)

    async def _give_back_later(self, claim: Claim) -> None:
        """Release a claim as soon as the database answers, then wake the sweep.

        Gives up when the lease has ended: the row is then due anyway.
        """
        give_up_at = _now() + self._settings.lease
        try:
            while _now() < give_up_at:
                await asyncio.sleep(DATABASE_RETRY_S)
                with suppress(DatabaseAway):
                    await self._give_back(claim)
                    self._given_back.set()
                    return
        except asyncio.CancelledError:
            with suppress(DatabaseAway):
                await asyncio.shield(self._give_back(claim))
            raise


def _record(attempt: Measured, outcome: Outcome, *, declared: int | None = None) -> None:
    """Count, trace and log an outcome that was written to the row.

    The logged size is the measured one. If there is none, it is the size that the store reported,
    or else the size that the client declared (`declared`).
    """
    attempt.end(outcome.state, outcome.reason)
    note_outcome(outcome)
    sizes = (outcome.facts.size, attempt.stages.size, declared)
    log.info(
        "processed",
        state=outcome.state,
        reason=outcome.reason,
        content_type=outcome.facts.content_type,
        size=next((each for each in sizes if each is not None), None),
        **scan_fields(outcome.scan),
        seconds=rounded(attempt.stages.seconds()),
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
