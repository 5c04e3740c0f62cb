"""The steps of one upload: scan it if there is a scanner, read its head, identify the type, decode
an image, store the thumbnail, write the outcome."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace

from shared import lifecycle, older_objects
from shared.attachments import Attachment
from shared.errors import (
    ClaimLost,
    DecoderFault,
    ObjectChanged,
    ObjectEmpty,
    ObjectMissing,
    ObjectOlder,
    Rejected,
    Undecodable,
)
from shared.facts import Facts, Thumbnail
from shared.lifecycle import Claim, Outcome
from shared.stored_objects import StoredObject
from shared.styles import write_styles
from shared.verdicts import Scan
from worker.buffering import HEAD_BYTES, MEMORY_BYTES, buffered, read_checksum, read_head
from worker.decoding.formats import Box, box_of, promises_thumbnail
from worker.judging import judge
from worker.naming import identify, measure_image
from worker.posters import make_poster
from worker.previews import make_preview
from worker.scanning.scanner import Scanned, Scanner, reopened, require_scanned
from worker.sniffing.sniffer import Sniffed
from worker.stages import measured, note_object
from worker.thumbnails import drop_thumbnails, store_thumbnail
from worker.tools import Tools

LONG_READ_BYTES = 16 * 1024 * 1024
"""Size of the first read, in bytes, if the file name looks like an image. If the content turns out
to be something else, the connection is closed after the head."""

MAX_CHANGES = 3
"""Maximum number of times that an object may be replaced during one attempt. After that, a later
attempt reads it."""

UNKNOWN = "application/octet-stream"
"""The content type of a file that could not be identified."""


async def process(tools: Tools, claim: Claim) -> Outcome:
    """Find the outcome of a claimed upload and write it in the row.

    An object that is replaced meanwhile is examined again, so the row never describes a mix of two
    objects. Raises StoreError, ScannerUnavailable and DecoderFault for faults that should be
    retried, also ObjectMissing, ObjectOlder and ClaimLost.
    """
    await tools.bucket.require_known_ours()
    # an object with this key in the worker's bucket belongs to another row
    if claim.attachment.bucket != tools.storage.bucket:
        raise ObjectMissing("the row names another bucket")
    seen, revision, changes = claim, claim.attachment.claimed_revision, 0
    while True:
        try:
            if tools.scanner is None:
                outcome = await examine(tools, seen)
            else:
                outcome = await _examine_scanned(tools, tools.scanner, seen)
        except ObjectChanged:
            changes += 1
            if changes == MAX_CHANGES:
                raise
            continue
        changes = 0
        with measured("commit"):
            newer = await _finish(tools, seen, outcome, revision)
        if newer is None:
            return outcome
        revision = newer
        # Examine again: the object was replaced, or a worker without a valid claim has overwritten
        # the thumbnail.
        row = replace(
            claim.attachment,
            thumbnail_name=outcome.thumbnail_name,
            styles=write_styles(outcome.styles),
        )
        seen = replace(claim, attachment=row)


async def _finish(tools: Tools, claim: Claim, outcome: Outcome, revision: int) -> int | None:
    """Write the outcome and return None. If the outcome is out of date, return the next revision.

    Raises ClaimLost if another worker holds the upload, and StoreError.
    """
    attachment_id = claim.attachment.id
    while not await tools.database.run(
        lifecycle.finish,
        claim,
        outcome,
        revision=revision,
        next_check_s=tools.settings.pending_check,
    ):
        held = await tools.database.run(lifecycle.renew, [claim], lease_s=tools.settings.lease)
        if attachment_id not in held:
            raise ClaimLost(str(attachment_id))
        if held[attachment_id] <= revision:
            return revision
        # New events were recorded, so the object may have been replaced. Ask the store: if it still
        # has the object that was read, the outcome is right.
        revision = held[attachment_id]
        current = await tools.storage.head(claim.attachment.key)
        if (current.etag, current.version_id) != (outcome.etag, outcome.version_id):
            return revision
    return None


async def _examine_scanned(tools: Tools, scanner: Scanner, claim: Claim) -> Outcome:
    """Scan the object, and examine it unless the verdict rejects it.

    Raises the same as `examine`.
    """
    scanned = await _scan(tools, scanner, claim.attachment)
    if scanned.refused is not None:
        await drop_thumbnails(tools.storage, claim.attachment)
        return Outcome(
            state="rejected",
            reason=scanned.refused,
            etag=scanned.found.etag,
            version_id=scanned.found.version_id,
            facts=Facts(size=scanned.found.size, checksum_sha256=scanned.checksum_sha256),
            scan=scanned.scan,
        )
    outcome = replace(await examine(tools, claim, scanned), scan=scanned.scan)
    if outcome.state == "ready" and scanned.noted is not None:
        return replace(outcome, reason=scanned.noted)
    return outcome


async def _scan(tools: Tools, scanner: Scanner, row: Attachment) -> Scanned:
    """Scan a row's object before any of it is parsed. Raises the same as `examine`."""
    try:
        async with scanner.reading(tools.storage, row) as (found, chunks):
            _check_age(tools, found, row)
            return await scanner.scan(row, found, chunks)
    except ObjectEmpty:
        found = await tools.storage.head(row.key)
        _check_age(tools, found, row)
        if found.size:
            raise ObjectChanged(row.key) from None
        # an empty file has no bytes to scan
        return Scanned(found=found, scan=Scan(verdict="clean"))


async def examine(tools: Tools, claim: Claim, scanned: Scanned | None = None) -> Outcome:
    """Identify the object and return its outcome; store its thumbnail if its type gets one.

    If the object was scanned, only the scanned bytes are parsed. May be repeated. Raises
    ObjectChanged if the object is replaced meanwhile, and the other errors of `process`.
    """
    row, storage, more = claim.attachment, tools.storage, tools.settings.more_formats
    try:
        first = LONG_READ_BYTES if promises_thumbnail(row.file_name, more) else HEAD_BYTES
        async with AsyncExitStack() as reading:
            with measured("read"):
                found, chunks = await reading.enter_async_context(
                    storage.read(row.key, end=first)
                    if scanned is None
                    else reopened(storage, row.key, scanned, end=first)
                )
                note_object(found)
                _check_age(tools, found, row)
                head = await read_head(chunks)
            outcome = Outcome(
                state="ready",
                etag=found.etag,
                version_id=found.version_id,
                facts=Facts(
                    size=found.size, checksum_sha256=scanned.checksum_sha256 if scanned else None
                ),
            )
            try:
                sniffed, died = await _identify_if_possible(tools, row, found, head)
                content_type = sniffed.content_type
                outcome = outcome.joined(Facts(content_type=content_type))
                judge(row, found, content_type, tools.settings)
                if died:
                    raise Undecodable("decoder_died", Facts(carries_more=True))
                if (box := box_of(content_type, more)) is Box.FILMS:
                    await reading.aclose()
                    thumbnail = await make_poster(tools, row, found, head)
                    with measured("read"):
                        checksum_sha256 = await read_checksum(storage, row.key, found, head)
                    outcome = outcome.joined(Facts(checksum_sha256=checksum_sha256))
                    with measured("write"):
                        return await store_thumbnail(tools, claim, thumbnail, outcome)
                if box is not None:
                    async with (
                        _room(tools, row, found, reading),
                        buffered(storage, row.key, found, head, chunks) as whole,
                    ):
                        file, checksum = whole
                        outcome = outcome.joined(Facts(checksum_sha256=checksum))
                        thumbnail = await _decode(tools, row, box, file.fileno())
                    with measured("write"):
                        return await store_thumbnail(tools, claim, thumbnail, outcome)
            except Undecodable as error:
                outcome = replace(outcome.joined(error.facts), reason=error.code)
            except Rejected as rejected:
                outcome = replace(outcome, state="rejected", reason=rejected.code)
    except ObjectEmpty:
        found, head = await storage.head(row.key), b""
        note_object(found)
        _check_age(tools, found, row)
        if found.size:
            # the first read found an empty object, so the object was replaced
            raise ObjectChanged(row.key) from None
        require_scanned(scanned, found)
        sniffed = await identify(tools, row, found, head)
        outcome = Outcome(
            state="ready",
            etag=found.etag,
            version_id=found.version_id,
            facts=Facts(content_type=sniffed.content_type, size=found.size),
        )
        try:
            judge(row, found, sniffed.content_type, tools.settings)
        except Rejected as rejected:
            outcome = replace(outcome, state="rejected", reason=rejected.code)
    known = outcome.facts
    if known.width is None:
        outcome = outcome.joined(await measure_image(tools, row, found, known.content_type, head))
    preview = None
    if outcome.state == "ready" and sniffed.preview is not None:
        preview = await make_preview(tools, row, found, sniffed)
    if preview is None:
        await drop_thumbnails(storage, row)
    if known.checksum_sha256 is None:
        with measured("read"):
            checksum_sha256 = await read_checksum(storage, row.key, found, head)
        outcome = outcome.joined(Facts(checksum_sha256=checksum_sha256))
    if preview is None:
        return outcome
    with measured("write"):
        return await store_thumbnail(tools, claim, preview, outcome)


async def _identify_if_possible(
    tools: Tools, row: Attachment, found: StoredObject, head: bytes
) -> tuple[Sniffed, bool]:
    """Identify the content type. Return it, and True if the identification was given up.

    It is given up if the child process died in every attempt; the type is then UNKNOWN. Raises
    DecoderFault for other faults, which should be retried.
    """
    try:
        return await identify(tools, row, found, head), False
    except DecoderFault as fault:
        if not _is_last_death(tools, row, fault):
            raise
        return Sniffed(UNKNOWN), True


async def _decode(tools: Tools, row: Attachment, box: Box, descriptor: int) -> Thumbnail:
    """Make the thumbnail of a file in a decoder.

    Raises Undecodable if the file cannot be decoded, or if the decoder died in every attempt.
    Raises DecoderFault for other faults, which should be retried.
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
    """Raise ObjectOlder if the object is older than the row.

    Such an object belongs to a row that was lost.
    """
    if tools.bucket.is_anothers(found, row):
        older_objects.note_older(row, found, seen_by="worker")
        raise ObjectOlder(str(row.id))


def _room(
    tools: Tools, row: Attachment, found: StoredObject, reading: AsyncExitStack
) -> AbstractAsyncContextManager[None]:
    """Return a context that reserves disk space for the file in the budget.

    If it must wait for space, it first closes the connection to the store. The remaining bytes are
    then requested after the wait.
    """
    if found.size <= MEMORY_BYTES:
        return nullcontext()
    return tools.budget.hold(row.organization_id, found.size, before_wait=reading.aclose)
