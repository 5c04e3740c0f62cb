"""Make the thumbnail of a document from the preview picture that its program has put inside it.

The preview does not decide whether the document is kept. The document gets no reason and no size
from its preview. A preview that is broken gives no thumbnail.
"""

from dataclasses import replace
from typing import Final

from shared.attachments import Attachment
from shared.errors import DecoderFault, Undecodable
from shared.facts import Facts, Thumbnail
from shared.log import get_logger
from shared.stored_objects import StoredObject
from worker.sniffing.sniffer import Sniffed
from worker.stages import measured
from worker.temporary import anonymous_file
from worker.tools import Tools

_EXTENSIONS: Final = {"image/jpeg": "jpg", "image/png": "png"}

log = get_logger(__name__)


async def make_preview(
    tools: Tools, row: Attachment, found: StoredObject, sniffed: Sniffed
) -> Thumbnail | None:
    """Make the thumbnail of a document from its preview; None if that is not possible.

    Reads only the preview's bytes, at most 4 MiB, and only while the object is still `found`.
    Raises ObjectChanged and other StoreErrors. Raises DecoderFault if the decoder failed and there
    will be another attempt.
    """
    if sniffed.preview is None:
        return None
    with measured("read"):
        packed = await _read(tools, row, found, sniffed)
    with anonymous_file(in_memory=True) as file:
        file.write(packed)
        try:
            made = await tools.decoders.decode_preview(
                row.organization_id, file.fileno(), sniffed.preview.packing
            )
        except Undecodable:
            return None
        except DecoderFault as fault:
            if row.attempt < tools.settings.attempts:
                raise
            log.warning("document is kept without its preview", error=str(fault))
            return None
    types = {each.content_type for each in made.pictures}
    if made.reason is not None or not types <= _EXTENSIONS.keys():
        return None
    return Thumbnail(
        pictures=tuple(
            replace(each, extension=_EXTENSIONS[each.content_type]) for each in made.pictures
        ),
        facts=Facts(thumbhash=made.facts.thumbhash),  # the size is that of the preview only
    )


async def _read(tools: Tools, row: Attachment, found: StoredObject, sniffed: Sniffed) -> bytes:
    """Return the bytes of a preview as they are stored. Request those that are not known yet."""
    assert sniffed.preview is not None
    assert sniffed.known is not None
    packed = bytearray()
    for start, end in sniffed.preview.extents:
        seen = sniffed.known.seen(start, end)
        packed += seen
        if (missing := start + len(seen)) < end:
            reading = tools.storage.read(row.key, start=missing, end=end, pin=found)
            async with reading as (_, chunks):
                async for chunk in chunks:
                    packed += chunk
    return bytes(packed)
