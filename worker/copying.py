"""Copies of large sources that a `temp_url` named: a few at a time, in turns by organization.

They hold neither places nor decoders: a copy takes minutes and waits for the store alone.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared import content_types, copies, processing
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.errors import (
    Busy,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreRefused,
)
from shared.log import get_logger
from shared.notifications import UploadEvent
from shared.storage import Storage, StoredObject, open_storage
from shared.turns import Turns
from worker.pipeline import Tools

COPIES, COPIES_EACH = 4, 2
"""Copies at a time in one worker, and those of one organization among them."""

WAITING = 100
"""How many of one organization wait in this process; the sweep brings the others again."""

COPY_TIMEOUT_S = 900.0
"""How long a copy may take: 5 GiB at 6 MB/s."""

log = get_logger(__name__)


class Copying:
    """The copies of one worker."""

    def __init__(self, tools: Tools, storage: Storage) -> None:
        self._tools = tools
        self._storage = storage
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
            async with self._turns.turn(organization_id):
                row = await self._tools.database.run(
                    copies.claim, attachment_id, copy_attempt, lease_s=self._tools.settings.lease
                )
                if row is not None:
                    await self._hold(row)
                elif copy_attempt is not None:
                    await self._tools.database.run(copies.drop, attachment_id, copy_attempt)
        except Busy:
            log.info("copy put off", attachment=attachment_id)
        except DatabaseAway as error:
            log.warning("copy put off", attachment=attachment_id, error=str(error))
        except Exception:  # the row is due again after its lease
            log.exception("unexpected error", attachment=attachment_id)

    async def _hold(self, row: Attachment) -> None:
        """Copy under a claim; the lease is renewed until the copy ends."""
        copy = asyncio.ensure_future(self._copy(row))
        lease_s = self._tools.settings.lease
        try:
            while not (await asyncio.wait([copy], timeout=lease_s / 3))[0]:
                with suppress(DatabaseAway):
                    if not await self._tools.database.run(copies.renew, row, lease_s=lease_s):
                        log.info("copy overtaken", attachment=row.id)
                        return
            await copy
        except asyncio.CancelledError:
            with suppress(DatabaseAway):
                await asyncio.shield(self._tools.database.run(copies.put_off, row, delay_s=0.0))
            raise
        finally:
            copy.cancel()

    async def _copy(self, row: Attachment) -> None:
        assert row.copy_bucket is not None
        assert row.copy_key is not None
        pin = StoredObject(size=0, etag=row.copy_etag or "")
        # A copy takes its source's type along, which is whatever the source's owner called it.
        content_type = None
        if self._tools.settings.files_public:
            content_type = content_types.public_type(row.content_type, row.file_name)
        try:
            async with asyncio.timeout(COPY_TIMEOUT_S):
                etag = await self._storage.copy(
                    row.key,
                    source_bucket=row.copy_bucket,
                    source_key=row.copy_key,
                    pin=pin,
                    content_type=content_type,
                )
        except (ObjectMissing, ObjectChanged):
            await self._fail(row, "source_missing")
        except StoreRefused:
            await self._fail(row, "copy_failed")
        except (StoreError, TimeoutError) as error:
            await self._try_again(row, error)
        else:
            await self._record(row, etag)

    async def _record(self, row: Attachment, etag: str) -> None:
        """Go on as by an event; if that gets lost, the sweep asks the store after the lease."""
        if not await self._tools.database.run(copies.finish, row):
            log.info("copy overtaken", attachment=row.id)
            return
        event = UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        await self._tools.database.run(processing.record_uploads, [event], publish_grace_s=0)
        log.info("copied", attachment=row.id)

    async def _fail(self, row: Attachment, reason: str) -> None:
        if await self._tools.database.run(copies.fail, row, reason=reason):
            log.warning("copy failed", attachment=row.id, reason=reason)

    async def _try_again(self, row: Attachment, error: Exception) -> None:
        attempt = row.copy_attempt % copies.ATTEMPTS
        if attempt >= self._tools.settings.attempts:
            await self._fail(row, "copy_failed")
            return
        delay_s = min(5 * 4 ** (attempt - 1), 900) * random.uniform(0.8, 1.2)  # noqa: S311 - spread
        log.warning("copy put off", attachment=row.id, attempt=attempt, error=type(error).__name__)
        await self._tools.database.run(copies.put_off, row, delay_s=delay_s)


@asynccontextmanager
async def open_copying(tools: Tools) -> AsyncIterator[Copying]:
    """Open the copies of a worker, with a store client that waits as long as a copy takes."""
    async with open_storage(
        tools.settings, connections=COPIES, read_timeout_s=COPY_TIMEOUT_S
    ) as storage:
        copying = Copying(tools, storage)
        try:
            yield copying
        finally:
            await copying.close()
