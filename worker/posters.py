"""Make the poster of a film from a few ranges of its bytes.

A decoder asks for the ranges that it needs, one at a time. Each request ends the job. The worker
reads the range from the store, and starts the job again with one more range. So no decoder waits
for the store.
"""

import asyncio
import os
from typing import Final

from shared.attachments import Attachment
from shared.errors import DecoderFault, Undecodable
from shared.facts import Thumbnail
from shared.stored_objects import StoredObject
from worker.buffering import MEMORY_BYTES
from worker.decoding.answers import RangeWanted
from worker.decoding.protocol import Film
from worker.stages import measured
from worker.temporary import anonymous_file
from worker.tools import Tools

MAX_READ_BYTES: Final = 32 * 1024 * 1024
"""Maximum number of bytes of a film that are read. Most films need less than 1 MiB."""

MAX_RANGES: Final = 48
"""Maximum number of ranges that are read, after the head. Each costs a request to the store."""


async def make_poster(
    tools: Tools,
    row: Attachment,
    found: StoredObject,
    head: bytes,
) -> Thumbnail:
    """Make the poster of a film that begins with `head`.

    Waits for room in the budget for the bytes that may be read. Reads only while the object is
    still `found`. Raises Undecodable if the film cannot be decoded, or if the decoder died in every
    attempt. Raises DecoderFault for other faults, ObjectChanged and other StoreErrors.
    """
    most = min(found.size, MAX_READ_BYTES)
    try:
        if most <= MEMORY_BYTES:
            return await _make(tools, row, found, head, in_memory=True)
        async with tools.budget.hold(row.organization_id, most, before_wait=_nothing):
            return await _make(tools, row, found, head, in_memory=False)
    except DecoderFault as fault:
        if fault.code != "decoder_died" or row.attempt < tools.settings.attempts:
            raise
        raise Undecodable("decoder_died") from fault


async def _nothing() -> None:
    """Do nothing before a wait: no connection to the store is open."""


async def _make(
    tools: Tools, row: Attachment, found: StoredObject, head: bytes, *, in_memory: bool
) -> Thumbnail:
    extents, left = [(0, len(head))], MAX_READ_BYTES - len(head)
    with anonymous_file(in_memory=in_memory) as file:
        file.write(head)
        while True:
            final = left <= 0 or len(extents) > MAX_RANGES
            film = Film(found.size, tuple(extents), final)
            try:
                return await tools.decoders.decode_film(row.organization_id, file.fileno(), film)
            except RangeWanted as wanted:
                start, end = wanted.start, min(wanted.end, wanted.start + left)
            # where there is no /proc, the decoder moves the offset of this descriptor
            file.seek(0, os.SEEK_END)
            with measured("read"):
                async with tools.storage.read(row.key, start=start, end=end, pin=found) as reading:
                    async for chunk in reading[1]:
                        await asyncio.to_thread(file.write, chunk)
            extents.append((start, end))
            left -= end - start
