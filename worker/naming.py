"""Identify the type of an upload, and find the size of an image that is not decoded.

Both read only a few ranges of bytes. All ranges are read from the same object: if it is replaced,
ObjectChanged is raised.
"""

from functools import partial

from shared.attachments import Attachment
from shared.facts import Facts
from shared.stored_objects import StoredObject
from worker.sniffing.dimensions import find_dimensions
from worker.sniffing.sniffer import Sniffed
from worker.stages import measured, note_type
from worker.tools import Tools


async def identify(tools: Tools, row: Attachment, found: StoredObject, head: bytes) -> Sniffed:
    """Identify the content type from the head and, if that is not enough, a few more ranges.

    Ranges are read only while the object is still `found`. Raises ObjectChanged and DecoderFault.
    """
    read = partial(_read, tools, row, found)
    with measured("sniff"):
        sniffed = await tools.sniffers.identify(row.organization_id, head, found.size, read)
    note_type(sniffed.content_type)
    return sniffed


async def measure_image(
    tools: Tools, row: Attachment, found: StoredObject, content_type: str | None, head: bytes
) -> Facts:
    """Return the width and height from an image's header, or empty facts if it gives no size.

    For a camera raw, this may read one more range. Raises ObjectChanged.
    """
    finding = find_dimensions(content_type or "", head, found.size)
    try:
        start, end = next(finding)
        while True:
            start, end = finding.send(await _read(tools, row, found, start, end))
    except StopIteration as ended:
        size = ended.value
    return Facts() if size is None else Facts(width=size[0], height=size[1])


async def _read(tools: Tools, row: Attachment, found: StoredObject, start: int, end: int) -> bytes:
    async with tools.storage.read(row.key, start=start, end=end, pin=found) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])
