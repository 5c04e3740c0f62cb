"""How large an image is that is not decoded: read from the beginning of the file, as it says.

Only numbers at places that the formats fix are read, of bytes that are there anyway: nothing is
decoded or inflated here, and nothing that follows is believed but as a number to show.
"""

import struct
from collections.abc import Callable
from typing import Final

Size = tuple[int, int]

MAX_ENTRIES: Final = 512
"""Entries of a TIFF's directory that are read at the most; cameras write about 50."""


def read_dimensions(content_type: str, head: bytes) -> Size | None:
    """Read width and height in upright pixels from the first bytes of an image, up to 64 KiB.

    None for other types, and where these bytes do not tell.
    """
    read = _READERS.get(content_type)
    if read is None:
        return None
    try:
        size = read(head)
    except (struct.error, IndexError):  # it ends before the numbers do
        return None
    return size if size is not None and all(0 < edge < 2**31 for edge in size) else None


def _bmp(head: bytes) -> Size | None:
    """Read BITMAPCOREHEADER or BITMAPINFOHEADER; rows from the top down have a negative height."""
    (header_bytes,) = struct.unpack_from("<I", head, 14)
    if header_bytes == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)


def _photoshop(head: bytes) -> Size:
    height, width = struct.unpack_from(">II", head, 14)
    return width, height


def _icon(head: bytes) -> Size | None:
    """Read the directory of an icon: the largest picture in it counts, 0 means 256."""
    (count,) = struct.unpack_from("<H", head, 4)
    sizes = [(head[at] or 256, head[at + 1] or 256) for at in range(6, 6 + 16 * min(count, 64), 16)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _jpeg_2000(head: bytes) -> Size | None:
    """Read the image header box (ISO/IEC 15444-1, I.5.3.1)."""
    at = head.find(b"ihdr", 0, 1024)
    if at < 0:
        return None
    height, width = struct.unpack_from(">II", head, at + 4)
    return width, height


def _tiff(head: bytes) -> Size | None:
    """Read the first directory of a TIFF or BigTIFF (TIFF 6.0, section 2; tags 256, 257, 274)."""
    order = "<" if head.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    big = version == 43
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", head, at)
    at += 8 if big else 2
    found: dict[int, int] = {}
    for number in range(min(entries, MAX_ENTRIES)):
        place = at + number * (20 if big else 12)
        tag, kind = struct.unpack_from(f"{order}HH", head, place)
        if tag in (256, 257, 274):
            form = "H" if kind == 3 else "I"
            (found[tag],) = struct.unpack_from(f"{order}{form}", head, place + (12 if big else 8))
    width, height = found.get(256, 0), found.get(257, 0)
    return (height, width) if found.get(274, 1) in (5, 6, 7, 8) else (width, height)


def _heif(head: bytes) -> Size | None:
    """Read the spatial extents of an AVIF or HEIC (ISO/IEC 23008-12, 6.5.3): the largest count.

    Thumbnails and tiles have extents of their own, which are smaller. A quarter turn is noted in a
    box of its own (6.5.10).
    """
    meta = head.find(b"meta")
    sizes: list[Size] = []
    at = head.find(b"ispe", meta)
    while meta >= 0 and at >= 0 and len(sizes) < MAX_ENTRIES:
        sizes.append(struct.unpack_from(">II", head, at + 8))
        at = head.find(b"ispe", at + 4)
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    turn = head.find(b"irot", meta)
    return (height, width) if turn >= 0 and head[turn + 4] & 1 else (width, height)


_READERS: Final[dict[str, Callable[[bytes], Size | None]]] = {
    "image/bmp": _bmp,
    "image/vnd.adobe.photoshop": _photoshop,
    "image/vnd.microsoft.icon": _icon,
    "image/jp2": _jpeg_2000,
    "image/tiff": _tiff,
    "image/avif": _heif,
    "image/heic": _heif,
    "image/heif": _heif,
}
