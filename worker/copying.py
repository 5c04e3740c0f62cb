"""Copy the objects to which a `temp_url` points.

The API copies most small objects itself. Workers make all other copies, a few at a time, and
organizations take turns. A copy needs no slot and no decoder: it only waits for the store, possibly
for minutes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from shared import content_types, copies, copy_claims
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.errors import Busy, ObjectChanged, ObjectMissing, StoreError, StoreRefused
from shared.fences import admit
from shared.jitter import spread
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.log import get_logger
from shared.log_fields import add_fields, field
from shared.part_copies import copy_object
from shared.reasons import CopyCode
from shared.storage import Storage
from shared.store_client import open_storage
from shared.store_limits import store_limit
from shared.throttle import Throttle
from shared.turns import Turns
from worker.patience import backoff_s, report
from worker.tools import Tools

COPIES, COPIES_EACH, COPIES_OF_NEWCOMERS = 8, 2, 4
"""A worker makes at most COPIES copies at one time. At most COPIES_EACH of them belong to one
organization. COPIES_OF_NEWCOMERS of them are reserved for organizations that have no copy in
progress. So the first copy of an organization usually begins at once, even if all other copies hang
in the store."""

WAITING, ALL_WAITING = 100, 10_000
"""Maximum number of copies that wait in this process: of one organization, and of all organizations
together. The tasks of 10,000 copies take about 30 MB of memory."""

POSTPONED_S = 300.0
"""If too many copies wait in this process, a further copy is due again after this average delay, in
seconds. The delay is long, so that a backlog of 100,000 copies costs the database only about 700
statements a second."""

COPY_TIMEOUT_S = 900.0
"""Timeout of one copy, in seconds: enough for 5 GiB at 6 MB/s."""

LATE = f"a copy did not end within {COPY_TIMEOUT_S:.0f} s"
"""The text of the store's error if a copy takes longer than COPY_TIMEOUT_S."""

log = get_logger(__name__)


class Copying:
    """The copies of one worker."""

    def __init__(
        self,
        tools: Tools,
        storage: Storage,
        on_copied: Callable[[WakeUp], None],
        throttle: Throttle,
    ) -> None:
        self._tools = tools
        self._storage = storage
        self._on_copied = on_copied
        self._throttle = throttle
        self._turns = Turns(
            COPIES,
            each=COPIES_EACH,
            waiting=WAITING,
            wait_s=COPY_TIMEOUT_S,
            newcomers=COPIES_OF_NEWCOMERS,
        )
        self._jobs: dict[int, asyncio.Task[None]] = {}

    def begin(
        self, attachment_id: int, organization_id: int | None, copy_attempt: int | None
    ) -> None:
        """Start a task that makes the copy that an attachment's row requests. May be repeated.

        Does nothing if the row requests no copy. After a wake-up, `copy_attempt` is None. For a row
        that the sweep has read, it is the row's `copy_attempt`.
        """
        if attachment_id in self._jobs:
            return
        if len(self._jobs) >= ALL_WAITING and copy_attempt is None:
            return  # the sweep takes the copy later
        job = asyncio.create_task(self._run(attachment_id, organization_id, copy_attempt))
        self._jobs[attachment_id] = job
        job.add_done_callback(lambda _: self._jobs.pop(attachment_id, None))

    async def close(self) -> None:
        """Cancel all copies. The row of a claimed copy becomes due at once."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _run(
        self, attachment_id: int, organization_id: int | None, copy_attempt: int | None
    ) -> None:
        try:
            if organization_id is None:
                seen = await self._tools.database.run(copies.find, attachment_id)
                if seen is None:
                    return
                organization_id = seen.organization_id
            add_fields(organization=organization_id, attachment=attachment_id)
            await self._take_turn(attachment_id, organization_id, copy_attempt)
        except Busy:
            if copy_attempt is not None:
                await self._postpone(attachment_id, copy_attempt)
        except DatabaseAway:  # `shared.outages` logs this; the row is due after its lease
            pass
        except Exception:  # the row is due again after its lease
            log.exception("unexpected error")

    async def _take_turn(
        self, attachment_id: int, organization_id: int, copy_attempt: int | None
    ) -> None:
        """Wait until the organization may make a copy, then claim and make it.

        Raises Busy if too many copies wait already, and DatabaseAway.
        """
        if len(self._jobs) > ALL_WAITING:
            raise Busy(own=False)
        run, lease_s = self._tools.database.run, self._tools.settings.lease
        async with self._turns.turn(organization_id):
            row = await run(copy_claims.claim, attachment_id, copy_attempt, lease_s=lease_s)
            if row is not None:
                add_fields(**_fields_of(row))
                await self._hold(row)
            elif copy_attempt is not None:
                await run(copy_claims.drop, attachment_id, copy_attempt)

    async def _postpone(self, attachment_id: int, copy_attempt: int) -> None:
        """Let a later sweep find this copy again."""
        delay_s = spread(POSTPONED_S, share=0.5)
        with suppress(DatabaseAway):  # if this fails, the copy is due after its lease
            await self._tools.database.run(
                copy_claims.wait, attachment_id, copy_attempt, delay_s=delay_s
            )

    async def _hold(self, row: Attachment) -> None:
        """Make a claimed copy, and renew its lease until the copy ends.

        If the claim is lost, the copy is cancelled. If this task is cancelled, the claim is
        released.
        """
        copy = asyncio.ensure_future(self._copy(row))
        lease_s = self._tools.settings.lease
        try:
            while not (await asyncio.wait([copy], timeout=lease_s / 3))[0]:
                with suppress(DatabaseAway):
                    if not await self._tools.database.run(copy_claims.renew, row, lease_s=lease_s):
                        log.info("copy lost its claim")
                        return
            await copy
        except asyncio.CancelledError:
            with suppress(DatabaseAway):
                await asyncio.shield(
                    self._tools.database.run(copy_claims.release, row, delay_s=0.0)
                )
            raise
        finally:
            copy.cancel()

    async def _copy(self, row: Attachment) -> None:
        if row.copy_attempt % COPY_ATTEMPTS > self._tools.settings.attempts:
            # Each attempt was claimed, but none has recorded its end. Probably the workers were
            # killed.
            await self._fail(row, "copy_failed")
            log.warning("copy failed: its workers ended during each attempt")
            return
        started = time.monotonic()
        try:
            async with store_limit(COPY_TIMEOUT_S, LATE):
                etag = await self._copy_inside_store(row)
        except (ObjectMissing, ObjectChanged):
            await self._fail(row, "source_missing")
        except StoreRefused as error:
            report(self._throttle, "copy refused", error, **_fields_of(row))
            await self._fail(row, "copy_failed")
        except (StoreError, TimeoutError) as error:
            await self._try_again(row, error)
        else:
            await self._record(row, etag, seconds=time.monotonic() - started)

    async def _copy_inside_store(self, row: Attachment) -> str:
        """Copy the row's source to the row's key; return the copy's etag. Raises StoreError."""
        settings = self._tools.settings
        await self._tools.bucket.require_known_ours()
        if row.bucket != self._storage.bucket:
            raise StoreRefused("the row names another bucket")
        assert row.copy_bucket is not None
        assert row.copy_key is not None
        # Check again: the setting `temp_url_buckets` may have changed since the request.
        if not admit(
            settings.fences,
            (row.copy_bucket, row.copy_key),
            own_bucket=settings.s3_bucket,
            organization_id=row.organization_id,
        ):
            raise StoreRefused("the source is not an allowed location")
        # Use the usual client here, because the client for copies has a long timeout.
        found = await self._tools.storage.head(row.copy_key, bucket=row.copy_bucket)
        if found.etag != row.copy_etag:
            raise ObjectChanged("the source changed after the copy was requested")
        # By default, the store gives a copy the content type of its source, which may be any type.
        # In public mode, browsers get the stored type, so it must be a safe one.
        content_type = None
        if settings.files_public:
            content_type = content_types.public_type(row.content_type, row.file_name)
        return await copy_object(
            self._storage,
            row.key,
            source_bucket=row.copy_bucket,
            source_key=row.copy_key,
            pin=found,
            content_type=content_type,
        )

    async def _record(self, row: Attachment, etag: str, *, seconds: float) -> None:
        """Record a finished copy as an upload. If that fails, the sweep retries after the lease."""
        copied = await self._tools.database.run(
            copy_claims.record, row, etag, publish_grace_s=self._tools.settings.publish_grace
        )
        if copied is None:
            log.info("copy lost its claim")
            return
        log.info("copied", size=row.copy_bytes, seconds={"copy": round(seconds, 3)})
        # The object is processed in another task, which does not have this task's log fields. So
        # the wake-up must contain the request's id.
        own_id = field("request_id") or ""
        for wake_up in copied.woken:
            self._on_copied(replace(wake_up, request_id=own_id))

    async def _fail(self, row: Attachment, reason: CopyCode) -> None:
        if await self._tools.database.run(copy_claims.fail, row, reason=reason):
            log.info("copy failed", reason=reason)

    async def _try_again(self, row: Attachment, error: StoreError | TimeoutError) -> None:
        report(self._throttle, "copy postponed", error, **_fields_of(row))
        attempt = row.copy_attempt % COPY_ATTEMPTS
        if attempt >= self._tools.settings.attempts:
            await self._fail(row, "copy_failed")
            return
        await self._tools.database.run(copy_claims.postpone, row, delay_s=backoff_s(attempt))


def _fields_of(row: Attachment) -> dict[str, int | None]:
    """Return the fields of each log line of a copy."""
    return {
        "organization": row.organization_id,
        "attachment": row.id,
        "revision": row.copy_revision,
        "attempt": row.copy_attempt % COPY_ATTEMPTS,
    }


@asynccontextmanager
async def open_copying(
    tools: Tools, on_copied: Callable[[WakeUp], None], throttle: Throttle
) -> AsyncIterator[Copying]:
    """Open the `Copying` of a worker, with a store client whose read timeout is COPY_TIMEOUT_S.

    Calls `on_copied` with the wake-up of each copied object. Cancels all copies at the end.
    """
    async with open_storage(
        tools.settings, connections=COPIES, read_timeout_s=COPY_TIMEOUT_S
    ) as storage:
        copying = Copying(tools, storage, on_copied, throttle)
        try:
            yield copying
        finally:
            await copying.close()
