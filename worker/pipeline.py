"""The steps of one upload, readable as a list: read a little, sniff, decode what is an image,
store the thumbnail, write down what was found."""

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import BinaryIO

from shared import keys, lifecycle, older_objects
from shared.attachments import Attachment
from shared.bucket_guard import BucketGuard
from shared.caching import PRIVATE_FILE, PUBLIC_FILE
from shared.database import Database
from shared.errors import (
    ClaimLost,
    DecoderFault,
    ObjectChanged,
    ObjectEmpty,
    ObjectMissing,
    ObjectOlder,
    Rejected,
    StoreUnavailable,
    Undecodable,
)
from shared.facts import Facts, Thumbnail
from shared.lifecycle import Claim, Outcome
from shared.settings import Settings
from shared.storage import Storage
from shared.stored_objects import StoredObject
from worker.budget import Budget
from worker.decoding.formats import Box, box_of, promises_thumbnail
from worker.decoding.pool import Decoders
from worker.judging import judge
from worker.sniffing.dimensions import read_dimensions
from worker.sniffing.sniffer import Sniffers
from worker.temporary import anonymous_file

HEAD_BYTES = 64 * 1024
"""How much is read before it is decided whether to read on: enough to sniff."""

LONG_READ_BYTES = 16 * 1024 * 1024
"""How much is asked for at first of what is named like an image: its bytes will be wanted. The
name decides nothing else; where it lies, the connection is dropped after the head."""

MEMORY_BYTES = 4 * 1024 * 1024
"""A file up to this size is buffered in memory, a larger one in an unlinked file, for which the
budget must have room: see `worker.budget`."""

MAX_CHANGES = 3

UNKNOWN = "application/octet-stream"
"""The content type of what could not be identified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What processing needs, opened once a worker."""

    settings: Settings
    database: Database
    storage: Storage
    bucket: BucketGuard
    decoders: Decoders
    sniffers: Sniffers
    budget: Budget


async def process(tools: Tools, claim: Claim) -> Outcome:
    """Bring a claimed upload to its outcome and write it down.

    An object that is replaced meanwhile is processed again, so the row never mixes two. Raises
    StoreError and DecoderFault for what should be tried again, ObjectMissing, ObjectOlder, and
    ClaimLost.
    """
    await tools.bucket.require_known_ours()
    if claim.attachment.bucket != tools.storage.bucket:  # what lies here is another row's
        raise ObjectMissing("the row names another bucket")
    attachment_id, revision = claim.attachment.id, claim.attachment.claimed_revision
    outcome = await examine(tools, claim)
    while not await tools.database.run(
        lifecycle.finish, claim, outcome, revision=revision,
        next_check_s=tools.settings.pending_check,
    ):  # fmt: skip
        held = await tools.database.run(lifecycle.renew, [claim], lease_s=tools.settings.lease)
        if attachment_id not in held:
            raise ClaimLost(str(attachment_id))
        if held[attachment_id] > revision:
            # Something was recorded meanwhile. Every event up to this revision tells of an object
            # that was there before we ask now; if it is still the one we read, our outcome stands.
            revision = held[attachment_id]
            current = await tools.storage.head(claim.attachment.key)
            if (current.etag, current.version_id) == (outcome.etag, outcome.version_id):
                continue
        # Replaced, or its thumbnail was spoiled by a worker that had lost its claim.
        seen = replace(claim.attachment, thumbnail_name=outcome.thumbnail_name)
        outcome = await examine(tools, replace(claim, attachment=seen))
    return outcome


async def examine(tools: Tools, claim: Claim) -> Outcome:
    """Find out what the object is, and store its thumbnail if it is to have one."""
    for change in range(MAX_CHANGES):
        try:
            return await _examine(tools, claim)
        except ObjectChanged:
            if change == MAX_CHANGES - 1:
                raise
    raise AssertionError("unreachable")


async def _examine(tools: Tools, claim: Claim) -> Outcome:
    row, storage, more = claim.attachment, tools.storage, tools.settings.more_formats
    try:
        first = LONG_READ_BYTES if promises_thumbnail(row.file_name, more) else HEAD_BYTES
        async with AsyncExitStack() as reading:
            found, chunks = await reading.enter_async_context(storage.read(row.key, end=first))
            _check_age(tools, found, row)
            head = await _read_head(chunks)
            outcome = Outcome(
                state="ready", etag=found.etag, version_id=found.version_id,
                facts=Facts(size=found.size),
            )  # fmt: skip
            try:
                content_type, died = await _identify_if_possible(tools, row, found, head)
                outcome = outcome.joined(Facts(content_type=content_type))
                judge(row, found, content_type, tools.settings)
                if died:
                    raise Undecodable("decoder_died", Facts(carries_more=True))
                if (box := box_of(content_type, more)) is not None:
                    async with (
                        _room(tools, row, found, reading),
                        _buffered(storage, row.key, found, head, chunks) as buffered,
                    ):
                        file, checksum = buffered
                        outcome = outcome.joined(Facts(checksum_sha256=checksum))
                        thumbnail = await _decode(tools, row, box, file.fileno())
                    return await _stored(tools, claim, thumbnail, outcome)
            except Undecodable as error:
                outcome = replace(outcome.joined(error.facts), reason=error.code)
            except Rejected as rejected:
                outcome = replace(outcome, state="rejected", reason=rejected.code)
    except ObjectEmpty:
        found, head = await storage.head(row.key), b""
        _check_age(tools, found, row)
        if found.size:
            raise ObjectChanged(row.key) from None  # replaced since it was found to be empty
        content_type = await _identify(tools, row, found, head)
        outcome = Outcome(
            state="ready", etag=found.etag, version_id=found.version_id,
            facts=Facts(content_type=content_type, size=found.size),
        )  # fmt: skip
        try:
            judge(row, found, content_type, tools.settings)
        except Rejected as rejected:
            outcome = replace(outcome, state="rejected", reason=rejected.code)
    known = outcome.facts
    if known.width is None and (size := read_dimensions(known.content_type or "", head)):
        outcome = outcome.joined(Facts(width=size[0], height=size[1]))
    await drop_thumbnail(storage, row)
    if known.checksum_sha256 is None:
        checksum_sha256 = await _checksum(storage, row.key, found, head)
        outcome = outcome.joined(Facts(checksum_sha256=checksum_sha256))
    return outcome


async def _identify_if_possible(
    tools: Tools, row: Attachment, found: StoredObject, head: bytes
) -> tuple[str, bool]:
    """Name the content type, and tell whether what names it died of the file in every attempt.

    It is then nothing but bytes. Raises DecoderFault for what should be tried again.
    """
    try:
        return await _identify(tools, row, found, head), False
    except DecoderFault as fault:
        if not _is_last_death(tools, row, fault):
            raise
        return UNKNOWN, True


async def _decode(tools: Tools, row: Attachment, box: Box, descriptor: int) -> Thumbnail:
    """Decode a file. Raises Undecodable, also where its decoder died in every attempt.

    Raises DecoderFault for what should be tried again.
    """
    try:
        return await tools.decoders.decode(box, row.organization_id, descriptor)
    except DecoderFault as fault:
        if not _is_last_death(tools, row, fault):
            raise
        raise await tools.decoders.measure(
            box, row.organization_id, descriptor, "decoder_died"
        ) from fault


def _is_last_death(tools: Tools, row: Attachment, fault: DecoderFault) -> bool:
    return fault.code == "decoder_died" and row.attempt >= tools.settings.attempts


def _check_age(tools: Tools, found: StoredObject, row: Attachment) -> None:
    """Raise ObjectOlder before anything of an object is used that belongs to a lost row."""
    if tools.bucket.is_anothers(found, row):
        older_objects.note_older(row, found, seen_by="worker")
        raise ObjectOlder(str(row.id))


async def _read_head(chunks: AsyncIterator[bytes]) -> bytes:
    """Read on until there is enough to sniff, or no more."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return bytes(head)


async def _identify(tools: Tools, row: Attachment, found: StoredObject, head: bytes) -> str:
    """Name the content type by the bytes: the head, and a few ranges that must be seen besides.

    They are read pinned to the object that `head` is of. Raises ObjectChanged and DecoderFault.
    """

    async def read(start: int, end: int) -> bytes:
        async with tools.storage.read(row.key, start=start, end=end, pin=found) as (_, chunks):
            return b"".join([chunk async for chunk in chunks])

    return await tools.sniffers.identify(row.organization_id, head, found.size, read)


async def _stored(tools: Tools, claim: Claim, thumbnail: Thumbnail, outcome: Outcome) -> Outcome:
    """Store a thumbnail: announced in the row first, so that it is never without an owner."""
    row, lease_s = claim.attachment, tools.settings.lease
    key = keys.thumbnail_key(row.key, thumbnail.extension)
    name = key.rsplit("/", 1)[-1]
    if row.thumbnail_name != name:
        await drop_thumbnail(tools.storage, row)
    if not await tools.database.run(lifecycle.announce_thumbnail, claim, name, lease_s=lease_s):
        raise ClaimLost(str(row.id))
    try:
        # Within the lease, so that whoever claims next cannot be overtaken by this write.
        async with asyncio.timeout(lease_s * 0.8):
            await tools.storage.write(
                key,
                thumbnail.body,
                content_type=thumbnail.content_type,
                cache_control=PUBLIC_FILE if tools.settings.files_public else PRIVATE_FILE,
            )
    except TimeoutError:
        raise StoreUnavailable("the thumbnail could not be written within the lease") from None
    return replace(outcome.joined(thumbnail.facts), thumbnail_name=name, reason=thumbnail.reason)


def _room(
    tools: Tools, row: Attachment, found: StoredObject, reading: AsyncExitStack
) -> AbstractAsyncContextManager[None]:
    """Hold room for a file on disk. Where it must be waited for, the first read ends before that.

    So no connection is kept meanwhile; what has not been read is asked for later.
    """
    if found.size <= MEMORY_BYTES:
        return nullcontext()
    return tools.budget.hold(row.organization_id, found.size, before_wait=reading.aclose)


@asynccontextmanager
async def _buffered(
    storage: Storage, key: str, found: StoredObject, head: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[tuple[BinaryIO, str]]:
    """Read the whole of an object on from `head`; yields a file and the hexadecimal SHA-256.

    `chunks` is the rest of the first read; what lies beyond it is read pinned to that object.
    """
    digest = hashlib.sha256(head)
    in_memory = found.size <= MEMORY_BYTES
    with anonymous_file(in_memory=in_memory) as file:
        file.write(head)

        async def keep(chunk: bytes) -> None:
            digest.update(chunk)
            if in_memory:
                file.write(chunk)
            else:
                await asyncio.to_thread(file.write, chunk)

        async for chunk in chunks:
            await keep(chunk)
        if (start := file.tell()) < found.size:
            async with storage.read(key, start=start, end=found.size, pin=found) as (_, rest):
                async for chunk in rest:
                    await keep(chunk)
        yield file, digest.hexdigest()


async def _checksum(storage: Storage, key: str, found: StoredObject, head: bytes) -> str | None:
    """Give the SHA-256 without downloading: of what we have, else as the store keeps it."""
    if len(head) == found.size:
        return hashlib.sha256(head).hexdigest()
    stored = await storage.head(key)
    if stored.etag != found.etag:
        raise ObjectChanged(key)
    return b64decode(stored.checksum_sha256).hex() if stored.checksum_sha256 else None


async def drop_thumbnail(storage: Storage, row: Attachment) -> None:
    """Remove the thumbnail that an earlier revision may have left, if it is the row's own.

    One that is older than the row, or lies in another bucket than the row names, is not.
    """
    if row.thumbnail_key is not None and row.bucket == storage.bucket:
        await older_objects.delete_own(storage, row.thumbnail_key, row)
