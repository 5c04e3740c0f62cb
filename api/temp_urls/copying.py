"""Copy small sources while the client waits, a few at a time. Organizations take turns.

Before a copy begins, the row records which object must be copied (see `shared.copies`). So a copy
that fails here is not lost and is no error: a worker makes it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from api.parts import Parts
from api.temp_urls.locations import Location
from api.temp_urls.sources import Source, find_source
from api.usage import check_growth, growth_refused, quotas_of
from shared import content_types, copies, copy_claims
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.errors import (
    Busy,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from shared.log import get_logger
from shared.quotas import QuotaExceeded
from shared.store_limits import store_limit
from shared.stored_objects import StoredObject
from shared.tokens import Caller
from shared.turns import Turns

MAX_COPIED_AT_ONCE = 64 * 1024 * 1024
"""Maximum size, in bytes, of a source that is copied before the answer. Workers copy larger
ones."""

COPIES, COPIES_EACH, COPIES_WAITING = 4, 1, 200
"""At most COPIES copies run in this process, and COPIES_EACH of them for one organization. At most
COPIES_WAITING copies of one organization wait. A bulk request may need 100 copies."""

COPY_WAIT_S = 10.0
"""Maximum time, in seconds, that a copy waits for its turn. After that, a worker makes the copy."""

COPY_TIMEOUT_S = 30.0
"""Timeout of a copy, in seconds. After that, a worker makes the copy."""

LATE = f"a copy did not end within {COPY_TIMEOUT_S:.0f} s"
"""The text of the store's error if a copy takes longer than COPY_TIMEOUT_S."""

COPY_LEASE_S = COPY_TIMEOUT_S + 15
"""Time, in seconds, after which a worker may claim a copy that this process has not finished. The
lease is not renewed."""

log = get_logger(__name__)


def open_copies() -> Turns:
    """Return the `Turns` object that limits how many copies run at once."""
    return Turns(COPIES, each=COPIES_EACH, waiting=COPIES_WAITING, wait_s=COPY_WAIT_S)


def require_room(parts: Parts, organization_id: int, sources: Sequence[Source | None]) -> None:
    """Raise Busy if too many copies of an organization would wait. Call this before any change.

    Several requests may pass this check at the same time, and then too many copies need a turn.
    Workers make the copies that get no turn.
    """
    small = sum(_is_small(source) for source in sources)
    if small and not parts.copies.has_room(organization_id, small):
        raise Busy(own=True)


async def take_over(
    parts: Parts, caller: Caller, row: Attachment, location: Location, changes: dict[str, Any]
) -> Attachment | None:
    """Apply `changes` to an attachment, and copy the object at `location` to its key.

    Returns None if the attachment no longer exists. Raises Problem 422 if the object may not be
    copied or a quota has no room, and Busy if too many copies wait. If it raises, nothing is
    changed.
    """
    source = await find_source(
        parts,
        location,
        organization_id=row.organization_id,
        max_size=row.max_bytes(parts.settings.max_size),
    )
    changes["temp_url"] = source.url
    await check_growth(parts, caller, row, source)
    require_room(parts, row.organization_id, [source])
    try:
        asked = await parts.clients.of(row.organization_id).run(
            copies.change,
            row,
            changes,
            source.wanted,
            grace_s=parts.settings.publish_grace,
            usual=quotas_of(parts, caller),
        )
    except QuotaExceeded as exceeded:
        raise growth_refused(exceeded, row, source) from None
    if asked is None:
        return None
    (copied,) = await copy_all(parts, [asked], [source])
    return copied


async def copy_all(
    parts: Parts, rows: Sequence[Attachment], sources: Sequence[Source | None]
) -> list[Attachment]:
    """Copy the small sources of rows now. Workers copy the large ones later.

    Returns the rows in their present state. Errors of a copy are not raised: the rows are
    committed, so a worker makes each copy that fails here.
    """
    tasks = [
        asyncio.create_task(_copy_or_leave(parts, row, source))
        for row, source in zip(rows, sources, strict=True)
        if source is not None
    ]
    if not tasks:
        return list(rows)
    try:
        current = {row.id: row for row in await asyncio.gather(*tasks)}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [current.get(row.id, row) for row in rows]


def _is_small(source: Source | None) -> bool:
    return source is not None and source.found.size <= MAX_COPIED_AT_ONCE


async def _copy_or_leave(parts: Parts, row: Attachment, source: Source) -> Attachment:
    if source.found.size > MAX_COPIED_AT_ONCE:
        parts.publisher.publish(copies.wake_up(row))
        return row
    run = parts.clients.of(row.organization_id).run
    try:
        async with parts.copies.turn(row.organization_id):
            claimed = await run(copy_claims.claim, row.id, None, lease_s=COPY_LEASE_S)
            return row if claimed is None else await _copy(parts, claimed)
    except (Busy, DatabaseAway):
        # Do not publish a wake-up for a worker, because many copies of the organization wait
        # already. The sweep finds the row later.
        return row
    except Exception:  # the row is committed, so a worker makes the copy
        log.exception("unexpected error", attachment=row.id)
        return row


async def _copy(parts: Parts, row: Attachment) -> Attachment:
    """Make a claimed copy, record it, and return the updated row."""
    assert row.copy_bucket is not None
    assert row.copy_key is not None
    run = parts.clients.of(row.organization_id).run
    # By default, the store gives a copy the content type of its source, which may be any type. In
    # public mode, browsers get the stored type, so it must be a safe one.
    content_type = None
    if parts.settings.files_public:
        content_type = content_types.public_type(row.content_type, row.file_name)
    try:
        async with store_limit(COPY_TIMEOUT_S, LATE):
            await parts.bucket.require_known_ours()
            if row.bucket != parts.storage.bucket:
                raise StoreRefused("the row names another bucket")
            etag = await parts.storage.copy(
                row.key,
                source_bucket=row.copy_bucket,
                source_key=row.copy_key,
                pin=StoredObject(size=0, etag=row.copy_etag or ""),
                content_type=content_type,
            )
    except (ObjectMissing, ObjectChanged):
        await run(copy_claims.fail, row, reason="source_missing")
        return await run(copies.show, row)
    except TimeoutError:
        await _leave(parts, row)
        return row
    except StoreError as error:
        if not isinstance(error, StoreUnavailable):  # `shared.outages` has logged StoreUnavailable
            kind = type(error).__name__
            parts.noise.warning.log("copy left to a worker", kind, error=kind)
        await _leave(parts, row)
        return row
    except asyncio.CancelledError:
        await asyncio.shield(_leave(parts, row))
        raise
    copied = await run(copy_claims.record, row, etag, publish_grace_s=parts.settings.publish_grace)
    if copied is None:
        return await run(copies.show, row)
    for wake_up in copied.woken:
        parts.publisher.publish(wake_up)
    return copied.attachment


async def _leave(parts: Parts, row: Attachment) -> None:
    """Release the claim, so that a worker makes the copy.

    If the release fails, a worker makes the copy after the lease has ended.
    """
    run, grace_s = parts.clients.of(row.organization_id).run, parts.settings.publish_grace
    if await run(copy_claims.release, row, delay_s=grace_s):
        parts.publisher.publish(copies.wake_up(row))
