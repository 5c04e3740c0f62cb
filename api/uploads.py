"""A `temp_url` taken at its word: the upload is recorded, or the object copied and recorded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.parts import Parts
from api.problems import Problem, invalid
from api.temp_urls import locate, may_take, same_address
from shared import attachments, content_types, copies, processing
from shared.addresses import without_credentials
from shared.attachments import Attachment
from shared.errors import ObjectMissing, StoreError, StoreRefused
from shared.notifications import UploadEvent
from shared.settings import Settings
from shared.storage import StoredObject
from shared.turns import Turns

COPY_TIMEOUT_S = 30

MAX_COPIED_AT_ONCE = 64 * 1024 * 1024
"""A larger source is copied by a worker after the answer, in bytes."""

COPIES, COPIES_EACH, COPIES_WAITING = 6, 2, 200
"""Copies inside the store at a time in this process, those of one organization among them, and how
many of one organization wait. Bulk requests may ask for a hundred each."""

LOOKUPS, LOOKUPS_EACH = 9, 3
"""The same of questions about what a `temp_url` names. Together they leave the store's client a
connection more than they use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an attachment's object comes from; `found` is None if it is in its place already.

    `url` is what is stored and shown: the address without credentials.
    """

    url: str
    pointer: str
    bucket: str
    key: str
    found: StoredObject | None


def stored_type(settings: Settings, content_type: str | None, file_name: str) -> str | None:
    """Give the type that an original must be stored with; None leaves it to the store.

    In the public mode the store's type is the one that browsers see, so it is always fixed there.
    Elsewhere the redirect to the store overrides it, and only a declared one is fixed.
    """
    if settings.files_public:
        return content_types.public_type(content_type, file_name)
    return content_type


def _refuse(url: str, pointer: str, detail: str) -> Problem:
    meta = {"value": without_credentials(url)}
    return Problem(422, [invalid(f"{pointer}/attributes/temp_url", detail, meta)])


def name_source(
    settings: Settings, url: str, *, organization_id: int, pointer: str, own_key: str | None = None
) -> tuple[str, str]:
    """Tell the bucket and key that a `temp_url` names. Raises Problem 422 if it may not be taken.

    Only the attachment's own key and what `may_take` admits may be. The store is not asked, so
    that the answer does not tell what is in it.
    """
    named = locate(url, settings)
    if named is None or (
        named != (settings.s3_bucket, own_key)
        and not may_take(named, settings, organization_id=organization_id)
    ):
        raise _refuse(url, pointer, "is not an allowed location")
    return named


async def find_source(
    parts: Parts,
    url: str,
    *,
    organization_id: int,
    pointer: str,
    max_size: int,
    own_key: str | None = None,
) -> Source:
    """Check a `temp_url` and look at the object that it names, unless that is `own_key`'s.

    `max_size` is what the attachment may have, in bytes.

    Raises Problem 422 if it may not be taken, StoreUnavailable if the store cannot say.
    """
    bucket, key = name_source(
        parts.settings, url, organization_id=organization_id, pointer=pointer, own_key=own_key
    )
    shown = without_credentials(url)
    if bucket == parts.storage.bucket and key == own_key:
        return Source(url=shown, pointer=pointer, bucket=bucket, key=key, found=None)
    try:
        async with parts.lookups.turn(organization_id):
            found = await parts.storage.head(key, bucket=bucket)
    except (ObjectMissing, StoreRefused):
        raise _refuse(url, pointer, "is not an existing object") from None
    if found.size > max_size:
        raise _refuse(url, pointer, f"is too large (maximum is {max_size} bytes)")
    return Source(url=shown, pointer=pointer, bucket=bucket, key=key, found=found)


def is_as_shown(settings: Settings, url: str, row: Attachment, file_url: str) -> bool:
    """Whether a `temp_url` only repeats what the attachment shows, so that it states nothing.

    `file_url` is the address of the file, shown while there is no other. The attachment's own key
    in the bucket always states that a file is there: it may be a newer one.
    """
    if locate(url, settings) == (settings.s3_bucket, row.key):
        return False
    if row.temp_url is not None:
        return same_address(without_credentials(url), without_credentials(row.temp_url))
    return row.uploaded_at is not None and same_address(url, file_url)


async def take_over(
    parts: Parts, rows: list[Attachment], sources: Sequence[Source | None]
) -> list[Attachment]:
    """Bring each source to its attachment's key and record the upload, as an event would.

    A source of more than MAX_COPIED_AT_ONCE is left to a worker, so its row stays `pending` for
    now. Returns the rows, those that were touched as they are now. If a copy fails, new rows are
    left `pending` and expire; nothing is recorded that is not in the store.
    """
    taken, current = [], {}
    for row, source in zip(rows, sources, strict=True):
        if source is None:
            continue
        if source.found is not None and source.found.size > MAX_COPIED_AT_ONCE:
            asked = await _leave_to_worker(parts, row, source, source.found)
            if asked is not None:
                current[row.id] = asked
                continue
        taken.append((row, source))
    if not taken:
        return [current.get(row.id, row) for row in rows]
    etags = await _copy_all(parts, taken)
    events = [
        UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        for (row, _), etag in zip(taken, etags, strict=True)
    ]
    run = parts.clients.of(taken[0][0].organization_id).run
    recorded = await run(
        processing.record_uploads, events, publish_grace_s=parts.settings.publish_grace
    )
    for wake_up in recorded.woken:
        parts.publisher.publish(wake_up)
    for row, source in taken:
        changed = await run(
            attachments.update, row.id, row.organization_id, {"temp_url": source.url}
        )
        current[row.id] = changed or row
    return [current.get(row.id, row) for row in rows]


def open_copies() -> Turns:
    """Make the turns in which organizations have objects copied."""
    return Turns(COPIES, each=COPIES_EACH, waiting=COPIES_WAITING, wait_s=COPY_TIMEOUT_S)


def open_lookups() -> Turns:
    """Make the turns in which organizations have the store asked about their sources."""
    return Turns(LOOKUPS, each=LOOKUPS_EACH, wait_s=COPY_TIMEOUT_S)


async def _leave_to_worker(
    parts: Parts, row: Attachment, source: Source, found: StoredObject
) -> Attachment | None:
    """Record that a worker is to copy a source; None if the attachment is being processed."""
    asked = await parts.clients.of(row.organization_id).run(
        copies.ask, row, bucket=source.bucket, key=source.key, etag=found.etag,
        temp_url=source.url, grace_s=parts.settings.publish_grace,
    )  # fmt: skip
    if asked is None:
        return None
    changed, wake_up = asked
    parts.publisher.publish(wake_up)
    return changed


async def _copy_all(parts: Parts, taken: Sequence[tuple[Attachment, Source]]) -> list[str | None]:
    """Copy every source in turn; after one failure no further copy begins."""
    tasks = [asyncio.create_task(_copy(parts, row, source)) for row, source in taken]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(parts: Parts, row: Attachment, source: Source) -> str | None:
    if source.found is None:
        return None
    # A copy takes its source's type along, which is whatever the source's owner called it.
    content_type = None
    if parts.settings.files_public:
        content_type = content_types.public_type(row.content_type, row.file_name)
    try:
        async with parts.copies.turn(row.organization_id), asyncio.timeout(COPY_TIMEOUT_S):
            return await parts.storage.copy(
                row.key,
                source_bucket=source.bucket,
                source_key=source.key,
                pin=source.found,
                content_type=content_type,
            )
    except ObjectMissing:
        raise _refuse(source.url, source.pointer, "is not an existing object") from None
    except TimeoutError:
        raise StoreError("the copy took too long") from None
