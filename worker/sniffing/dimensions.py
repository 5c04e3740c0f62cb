"""Read the size of an image from the start of its file, without decoding.

Only numbers at offsets that the format defines are read, from bytes that the worker has already
read. Nothing is decoded or inflated. The numbers may be wrong, so they are only shown, and never
used.
"""

import struct
from collections.abc import Callable
from typing import Final

from worker.sniffing.jxl_size import jxl_size
from worker.sniffing.ranges import PartialFile, Reading
from worker.sniffing.raws import MRW, RAF, TIFF_RAWS, X3F, mrw_size, raf_size, raw_size, x3f_size
from worker.sniffing.svg_size import svg_size
from worker.sniffing.tiff_tags import Size, tiff_size

MAX_SIZES: Final = 512
"""Maximum number of sizes in an HEIF that are compared."""


def find_dimensions(content_type: str, head: bytes, size: int) -> Reading[Size | None]:
    """Return the width and height of the image in a file of `size` bytes, after rotation.

    `head` is the first 64 KiB or less. Returns None for other types, and if the size cannot be
    found. This is a generator: for a camera raw it may yield a range (start, end) of at most 4 KiB,
    and the caller sends these bytes. Never raises for any bytes.
    """
    found: Size | None = None
    try:
        if (read := READERS.get(content_type)) is not None:
            found = read(head)
        elif (find := FAR_READERS.get(content_type)) is not None:
            found = yield from find(PartialFile(head, size, ranges=1))
    except (struct.error, IndexError, OverflowError):  # the bytes end before the numbers
        return None
    return found if found is not None and all(0 < edge < 2**31 for edge in found) else None


def read_dimensions(content_type: str, head: bytes) -> Size | None:
    """Return what `find_dimensions` finds in the `head` alone."""
    try:
        next(find_dimensions(content_type, head, len(head)))
    except StopIteration as ended:
        found: Size | None = ended.value
        return found
    return None


def _bmp(head: bytes) -> Size | None:
    """Read BITMAPCOREHEADER or BITMAPINFOHEADER.

    If the height is negative, rows begin at the top.
    """
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
    """Return the size of the largest picture in an icon's directory. An edge of 0 means 256
    pixels."""
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


def _codestream(head: bytes) -> Size:
    """Read the SIZ marker of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5.1)."""
    right, bottom, left, top = struct.unpack_from(">IIII", head, 8)
    return right - left, bottom - top


def _canon_cr3(head: bytes) -> Size | None:
    """Read the first directory of a CR3. It is in the box `CMT1`, in the form of a TIFF."""
    at = head.find(b"CMT1")
    return tiff_size(head[at + 4 :]) if at >= 0 else None


def _tga(head: bytes) -> Size:
    width, height = struct.unpack_from("<HH", head, 12)
    return width, height


def _qoi(head: bytes) -> Size:
    width, height = struct.unpack_from(">II", head, 4)
    return width, height


def _heif(head: bytes) -> Size | None:
    """Return the largest spatial extents of an AVIF or HEIC (ISO/IEC 23008-12, 6.5.3).

    Thumbnails and tiles have extents too, which are smaller. The box `irot` (6.5.10) gives the
    rotation in quarter turns.
    """
    meta = head.find(b"meta")
    sizes: list[Size] = []
    at = head.find(b"ispe", meta)
    while meta >= 0 and at >= 0 and len(sizes) < MAX_SIZES:
        sizes.append(struct.unpack_from(">II", head, at + 8))
        at = head.find(b"ispe", at + 4)
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    turn = head.find(b"irot", meta)
    return (height, width) if turn >= 0 and head[turn + 4] & 1 else (width, height)


READERS: Final[dict[str, Callable[[bytes], Size | None]]] = {
    "image/bmp": _bmp,
    "image/vnd.adobe.photoshop": _photoshop,
    "image/vnd.microsoft.icon": _icon,
    "image/jp2": _jpeg_2000,
    "image/jpx": _jpeg_2000,
    "image/jpm": _jpeg_2000,
    "image/jph": _jpeg_2000,
    "image/j2c": _codestream,
    "image/jphc": _codestream,
    "image/jxl": jxl_size,
    "image/qoi": _qoi,
    "image/x-win-bitmap": _icon,
    "image/x-tga": _tga,
    "image/svg+xml": svg_size,
    "image/tiff": tiff_size,
    MRW: mrw_size,
    X3F: x3f_size,
    "image/x-canon-cr3": _canon_cr3,
    "image/avif": _heif,
    "image/heic": _heif,
    "image/heif": _heif,
}

FAR_READERS: Final[dict[str, Callable[[PartialFile], Reading[Size | None]]]] = {
    **dict.fromkeys(TIFF_RAWS, raw_size),
    RAF: raf_size,
}
"""Readers that may request a range after the head."""
