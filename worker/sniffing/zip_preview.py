"""Find the preview picture inside an Office or OpenDocument file.

Only the place of the picture is found. It is not inflated or decoded here: that happens in the
sandbox for images. Sources: ECMA-376 part 2 (packages and their relationships), OpenDocument 1.2
part 3, section 3.9. No I/O: bytes that are needed are requested (`worker.sniffing.ranges`).
"""

import re
import zlib
from typing import Final

from worker.sniffing.protocol import MAX_PREVIEW_BYTES, Preview
from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading
from worker.sniffing.zip import OFFICE
from worker.sniffing.zip_directory import Directory, find_data, read_directory

_OPEN_DOCUMENT_PART: Final = b"thumbnails/thumbnail.png"
_RELATIONSHIPS: Final = b"_rels/.rels"

_PICTURES: Final = (b".jpeg", b".jpg", b".jpe", b".png", b".gif", b".bmp", b".dib")
"""Extensions of parts that may be decoded. Previews in WMF and EMF have other extensions."""

MAX_RELATIONSHIPS_BYTES: Final = 64 * 1024
"""Maximum number of bytes of the relationships that are read, after inflating. Office writes four
relationships of about 150 bytes each."""

_RELATIONSHIP: Final = re.compile(rb"<(?:[\w.-]{1,60}:)?Relationship\s([^<>]{1,4096})>")
_ATTRIBUTE: Final = re.compile(rb"""([\w:]{1,60})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)')""")
_THUMBNAIL: Final = b"/metadata/thumbnail"


def find_in_archive(name: str, file: PartialFile) -> Reading[Preview | None]:
    """Return the preview of an Office or OpenDocument file of this type; None if it has none.

    Requests the bytes around the preview. For an Office document with a picture, first requests the
    relationships, which say where the preview is. Usually they are in the first bytes of the file,
    which are known already. Never raises for any bytes.
    """
    directory = yield from read_directory(file)
    if directory is None:
        return None
    part: bytes | None = _OPEN_DOCUMENT_PART
    if name in OFFICE:
        part = yield from _related_part(directory, file)
    member = None if part is None else directory.member(file, part)
    if member is None or member.packed > MAX_PREVIEW_BYTES:
        return None
    extent = yield from find_data(file, member)
    if extent is None:
        return None
    return Preview((extent,), "deflated" if member.deflated else "stored")


def _related_part(directory: Directory, file: PartialFile) -> Reading[bytes | None]:
    """Return the name of the part, in lower case, that is a thumbnail by the relationships.

    The relationships are read only if the package contains a picture.
    """
    if not any(name.endswith(_PICTURES) for name in directory.entries):
        return None
    member = directory.member(file, _RELATIONSHIPS)
    if member is None or member.packed > RANGE_BYTES:
        return None
    extent = yield from find_data(file, member)
    if extent is None:
        return None
    body = yield from file.look(extent[0], member.packed)
    if member.deflated:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, MAX_RELATIONSHIPS_BYTES)
        except zlib.error:
            return None
    return thumbnail_target(body[:MAX_RELATIONSHIPS_BYTES])


def thumbnail_target(relationships: bytes) -> bytes | None:
    """Return the part, in lower case, to which the thumbnail relationship of a package leads.

    Returns None if there is no such relationship, or if it leads out of the package or to a part
    that is not decoded.
    """
    if relationships.startswith((b"\xff\xfe", b"\xfe\xff")):
        relationships = relationships.decode("utf-16", "replace").encode()
    for (words,) in map(re.Match.groups, _RELATIONSHIP.finditer(relationships)):
        found = {each[1]: each[2] or each[3] or b"" for each in _ATTRIBUTE.finditer(words)}
        if found.get(b"Type", b"").endswith(_THUMBNAIL):
            part = found.get(b"Target", b"").lower().removeprefix(b"/")
            outside = found.get(b"TargetMode", b"Internal") != b"Internal"
            inside = not outside and b".." not in part.split(b"/")
            return part if inside and part.endswith(_PICTURES) else None
    return None
