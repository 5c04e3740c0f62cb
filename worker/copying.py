"""Copies of what a `temp_url` named: large sources, and small ones that the API left.

A few at a time, in turns by organization. They hold neither places nor decoders: a copy may take
minutes and waits for the store alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from shared import content_types, copies, copy_claims
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.errors import Busy, ObjectChanged, ObjectMissing, StoreError, StoreRefused
from shared.fences import admit
from shared.jitter import spread
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.log import get_logger
from shared.part_copies import copy_object
from shared.reasons import CopyCode
from shared.storage import Storage
from shared.store_client import open_storage
from shared.turns import Turns
from worker.pipeline import Tools

COPIES, COPIES_EACH = 4, 2
"""Copies at a time in one worker, and those of one organization among them."""

WAITING, ALL_WAITING = 100, 10_000
"""How many of one organization wait in this process, and how many of all: about 30 MB of tasks."""

COME_AGAIN_S = 300.0
"""The sweep brings those that may not wait here again after about so long. A backlog of 100,000
copies so costs the database about 700 statements a second."""

COPY_TIMEOUT_S = 900.0
"""How long a copy may take: 5 GiB at 6 MB/s."""

log = get_logger(__name__)


class Copying:
    """The copies of one worker."""

    def __init__(self, tools: Tools, storage: Storage, on_copied: Callable[[WakeUp], None]) -> None:
        self._tools = tools
        self._storage = storage
        self._on_copied = on_copied
        self._turns = Turns(COPIES, each=COPIES_EACH, waiting=WAITING, wait_s=COPY_TIMEOUT_S)
        self._jobs: dict[int, asyncio.Task[None]] = {}

    def begin(
        self, attachment_id: int, organization_id: int | None, copy_attempt: int | None
    ) -> None:
        """Copy what an attachment's row names, in the background; safe to call for anything.

        `copy_attempt` is the attempt that the sweep has seen, None after a wake-up.
        """
        if attachment_id in self._jobs:
            return
        if len(self._jobs) >= ALL_WAITING and copy_attempt is None:
            return  # the sweep brings it
        job = asyncio.create_task(self._run(attachment_id, organization_id, copy_attempt))
        self._jobs[attachment_id] = job
        job.add_done_callback(lambda _: self._jobs.pop(attachment_id, None))

    async def close(self) -> None:
        """Cancel what is in flight; each copy is due again at once."""
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
            if len(self._jobs) > ALL_WAITING:
                raise Busy(own=False)
            async with self._turns.turn(organization_id):
                row = await self._tools.database.run(
                    copy_claims.claim,
                    attachment_id,
                    copy_attempt,
                    lease_s=self._tools.settings.lease,
                )
                if row is not None:
                    await self._hold(row)
                elif copy_attempt is not None:
                    await self._tools.database.run(copy_claims.drop, attachment_id, copy_attempt)
        except Busy:
            if copy_attempt is not None:
                await self._come_again(attachment_id, copy_attempt)
        except DatabaseAway as error:
            log.warning("copy put off", attachment=attachment_id, error=str(error))
        except Exception:  # the row is due again after its lease
            log.exception("unexpected error", attachment=attachment_id)

    async def _come_again(self, attachment_id: int, copy_attempt: int) -> None:
        """Leave a copy to a later sweep."""
        delay_s = spread(COME_AGAIN_S, share=0.5)
        with suppress(DatabaseAway):  # then it is due after its lease
            await self._tools.database.run(
                copy_claims.wait, attachment_id, copy_attempt, delay_s=delay_s
            )

    async def _hold(self, row: Attachment) -> None:
        """Copy under a claim; the lease is renewed until the copy ends."""
        copy = asyncio.ensure_future(self._copy(row))
        lease_s = self._tools.settings.lease
        try:
            while not (await asyncio.wait([copy], timeout=lease_s / 3))[0]:
                with suppress(DatabaseAway):
                    if not await self._tools.database.run(copy_claims.renew, row, lease_s=lease_s):
                        log.info("copy overtaken", attachment=row.id)
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
            await self._fail(row, "copy_failed")  # every worker that tried was killed
            return
        try:
            async with asyncio.timeout(COPY_TIMEOUT_S):
                etag = await self._copy_inside_store(row)
        except (ObjectMissing, ObjectChanged):
            await self._fail(row, "source_missing")
        except StoreRefused:
            await self._fail(row, "copy_failed")
        except (StoreError, TimeoutError) as error:
            await self._try_again(row, error)
        else:
            await self._record(row, etag)

    async def _copy_inside_store(self, row: Attachment) -> str:
        """Copy what a row names to its key; returns the etag. Raises StoreError."""
        settings = self._tools.settings
        await self._tools.bucket.require_known_ours()
        if row.bucket != self._storage.bucket:
            raise StoreRefused("the row names another bucket")
        assert row.copy_bucket is not None
        assert row.copy_key is not None
        # The fences may be other ones than when the copy was asked for.
        if not admit(
            settings.fences,
            (row.copy_bucket, row.copy_key),
            own_bucket=settings.s3_bucket,
            organization_id=row.organization_id,
        ):
            raise StoreRefused("the source is not an allowed location")
        # By the usual client: this one waits long for an answer.
        found = await self._tools.storage.head(row.copy_key, bucket=row.copy_bucket)
        if found.etag != row.copy_etag:
            raise ObjectChanged("the source is another one than was asked for")
        # A copy takes its source's type along, which is whatever the source's owner called it.
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

    async def _record(self, row: Attachment, etag: str) -> None:
        """Go on as by an event; if that gets lost, the sweep copies again after the lease."""
        copied = await self._tools.database.run(
            copy_claims.record, row, etag, publish_grace_s=self._tools.settings.publish_grace
        )
        log.info("copy overtaken" if copied is None else "copied", attachment=row.id)
        for wake_up in copied.woken if copied is not None else ():
            self._on_copied(wake_up)

    async def _fail(self, row: Attachment, reason: CopyCode) -> None:
        if await self._tools.database.run(copy_claims.fail, row, reason=reason):
            log.warning("copy failed", attachment=row.id, reason=reason)

    async def _try_again(self, row: Attachment, error: Exception) -> None:
        attempt = row.copy_attempt % COPY_ATTEMPTS
        if attempt >= self._tools.settings.attempts:
            await self._fail(row, "copy_failed")
            return
        delay_s = spread(min(5 * 4 ** (attempt - 1), 900))
        log.warning("copy put off", attachment=row.id, attempt=attempt, error=type(error).__name__)
        await self._tools.database.run(copy_claims.put_off, row, delay_s=delay_s)


@asynccontextmanager
async def open_copying(tools: Tools, on_copied: Callable[[WakeUp], None]) -> AsyncIterator[Copying]:
    """Open the copies of a worker, with a store client that waits as long as a copy takes.

    `on_copied` is called with what is to be processed after a copy.
    """
    async with open_storage(
        tools.settings, connections=COPIES, read_timeout_s=COPY_TIMEOUT_S
    ) as storage:
        copying = Copying(tools, storage, on_copied)
        try:
            yield copying
        finally:
            await copying.close()
