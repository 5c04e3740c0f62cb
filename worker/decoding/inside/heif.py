"""Read the description of the pictures in an AVIF or HEIC: their codecs and colour space.

Sources: ISO/IEC 14496-12, 8.11 (`meta`, `pitm`, `iinf`, `iref`) and 12.1.5 (`colr`);
ISO/IEC 23008-12, 6.6 (derived images) and 9.3 (properties).
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from worker.decoding.inside.colour_spaces import ColourSpace, by_code_points

MAX_META_BYTES: Final = 1024 * 1024
"""Maximum number of bytes of a `meta` box that are read. A photo of 200 tiles has 10 kB."""

MAX_BOXES: Final = 10_000
_MAX_TOP_BOXES: Final = 100
_MAX_DEPTH: Final = 4

CODECS: Final = frozenset({b"hvc1", b"av01"})
"""The item types that the readers decode: HEVC and AV1."""

_DERIVED: Final = frozenset({b"grid", b"iden", b"iovl"})


def read_meta(file: BinaryIO) -> bytes:
    """Return the content of a file's `meta` box; empty if the file has no such box.

    Returns at most MAX_META_BYTES.
    """
    size = file.seek(0, os.SEEK_END)
    at = 0
    for _ in range(_MAX_TOP_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, body = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if head[4:8] == b"meta":
            file.seek(at + body + 4)  # skip the version number and the flags
            return file.read(min(max(length - body - 4, 0), MAX_META_BYTES))
        if length < body:
            break
        at += length
    return b""


def has_other_codec(meta: bytes) -> bool:
    """Return True if the primary picture needs a codec that no reader has.

    Returns False if the boxes do not name the codec or are malformed. Then a reader tries to decode
    the picture.
    """
    try:
        return _codec(meta) not in (*CODECS, None)
    except (struct.error, IndexError):
        return False


def colour_space(meta: bytes) -> ColourSpace | None:
    """Return the colour space of a picture's code points; None if they are missing or unknown.

    In AVIF and HEIC, browsers use the transfer function of sRGB instead of the functions of video
    cameras.
    """
    points = _code_points(meta)
    if len(points) < 4:
        return None
    return by_code_points(*struct.unpack_from(">HH", points), video_gamma=None)


def is_exact(meta: bytes) -> bool:
    """Return True if a picture is stored in a form that encoders use only for lossless pictures.

    The form is RGB, or YCgCo with additional bits (ITU-T H.273, table 4).
    """
    points = _code_points(meta)
    return len(points) >= 6 and int.from_bytes(points[4:6], "big") in (0, 16, 17)


def _code_points(meta: bytes) -> bytes:
    """Return the code points of the primary picture; empty if it has none.

    If the picture is derived, its sources may have the code points instead. Other pictures in the
    file, such as a gain map, have their own code points, which are ignored.
    """
    try:
        properties, owned = _properties(meta)
        item, sources = _primary(meta), _sources(dict(_boxes(meta)).get(b"iref", b"\0" * 4))
        for _ in range(_MAX_DEPTH):
            for index in owned.get(item, ()):
                name, body = properties[index - 1]
                if name == b"colr" and body.startswith(b"nclx"):
                    return body[4:]
            if item not in sources:
                break
            item = sources[item]
    except (struct.error, IndexError):
        pass
    return b""


def _properties(meta: bytes) -> tuple[list[tuple[bytes, bytes]], dict[int, list[int]]]:
    """Return all properties, and for each item the numbers of its properties, counted from 1.

    Source: ISO/IEC 23008-12, 9.3 (boxes `ipco` and `ipma`).
    """
    properties: list[tuple[bytes, bytes]] = []
    owned: dict[int, list[int]] = {}
    for name, body in _boxes(dict(_boxes(meta)).get(b"iprp", b"")):
        if name == b"ipco":
            properties = list(_boxes(body))
        elif name == b"ipma":
            item_form, item_width = (">I", 4) if body[0] else (">H", 2)
            form, width, mask = (">H", 2, 0x7FFF) if body[3] & 1 else (">B", 1, 0x7F)
            (count,) = struct.unpack_from(">I", body, 4)
            at = 8
            for _ in range(min(count, MAX_BOXES)):
                (item,) = struct.unpack_from(item_form, body, at)
                at += item_width
                numbers = body[at]
                at += 1
                found = owned.setdefault(item, [])
                for _ in range(numbers):
                    found.append(struct.unpack_from(form, body, at)[0] & mask)
                    at += width
    return properties, owned


def _primary(meta: bytes) -> int:
    """Return the id of the primary item. Raises IndexError if the file gives none."""
    primary = dict(_boxes(meta)).get(b"pitm", b"")
    return int.from_bytes(primary[4:8] if primary[0] else primary[4:6], "big")


def _codec(meta: bytes) -> bytes | None:
    """Return the type of the primary item. For a derived item, return the type of its source."""
    boxes = dict(_boxes(meta))
    item = _primary(meta)
    types = _types(boxes.get(b"iinf", b"\0" * 6))
    sources = _sources(boxes.get(b"iref", b"\0" * 4))
    for _ in range(_MAX_DEPTH):
        kind = types.get(item)
        if kind not in _DERIVED:
            return kind
        if item not in sources:
            return None
        item = sources[item]
    return None


def _boxes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and body of each box inside a box."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(body):
            return
        length, name = struct.unpack_from(">I4s", body, at)
        end = len(body) if length == 0 else at + length
        if end < at + 8:
            return
        yield name, body[at + 8 : end]
        at = end


def _types(body: bytes) -> dict[int, bytes]:
    """Return the types of items by their ids, from the box `iinf`."""
    start = 8 if body[0] else 6
    found = {}
    for name, entry in _boxes(body[start:]):
        if name != b"infe" or entry[0] < 2:  # entries of older versions have no type
            continue
        wide = entry[0] >= 3
        item = int.from_bytes(entry[4:8] if wide else entry[4:6], "big")
        at = 10 if wide else 8  # skip two bytes (protection index)
        found[item] = entry[at : at + 4]
    return found


def _sources(body: bytes) -> dict[int, int]:
    """Map the id of each derived item to the id of its first source item (box `iref`)."""
    form, width = (">I", 4) if body[0] else (">H", 2)
    found = {}
    for name, entry in _boxes(body[4:]):
        if name == b"dimg" and len(entry) >= 2 * width + 2:
            (item,) = struct.unpack_from(form, entry)
            (source,) = struct.unpack_from(form, entry, width + 2)
            found[item] = source
    return found
