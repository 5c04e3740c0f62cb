"""Take the largest picture out of an icon (ICO) or a cursor (CUR), as a separate file.

Each picture is a PNG, or a bitmap without a file header. After its pixels, a bitmap has a mask with
as many rows, and the height in its header is that of both. Pillow's reader is not used, because it
decodes the picture before the cost can be checked. Source: Microsoft's documentation of ICONDIR,
BITMAPINFOHEADER and of icon resources.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image

from shared.errors import Undecodable

MAX_PICTURES: Final = 1000
MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024
"""Maximum size, in bytes, of a picture that is read. An icon of 256×256 has 270 kB."""

MAX_EDGE: Final = 4096
"""Maximum width and height, in pixels, in the header of a bitmap. Valid icons have at most 256,
because their directory has no larger numbers."""

_STARTS: Final = (b"\0\0\1\0", b"\0\0\2\0")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = 40
_HEADERS: Final = frozenset({40, 52, 56, 64, 108, 124})
"""Possible lengths of a bitmap's header, in bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of an icon. `file` is a PNG or a BMP. `alpha` is the transparency of a BMP."""

    file: BinaryIO
    alpha: Image.Image | None = None


def largest_picture(file: BinaryIO) -> Picture | None:
    """Return the largest picture of an icon or a cursor; None for any other file.

    Among pictures of the same size, the one with the most bits per pixel is returned. Raises
    Undecodable with `damaged` if the picture is not in the file, and with `too_expensive` if it is
    too large.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(6)
    if not head.startswith(_STARTS) or len(head) < 6:
        return None
    (count,) = struct.unpack_from("<H", head, 4)
    entries = []
    for _ in range(min(count, MAX_PICTURES)):
        entry = file.read(16)
        if len(entry) < 16:
            break
        width, height, bits, length, start = struct.unpack("<BB4xHII", entry)
        if 0 < length <= size - start:
            bits = bits if head[2] == 1 else 0  # in a cursor, this field is a position
            entries.append(((width or 256) * (height or 256), bits, length, start))
    if not entries:
        raise Undecodable("damaged")
    *_, length, start = max(entries)
    if length > MAX_PICTURE_BYTES:
        raise Undecodable("too_expensive")
    file.seek(start)
    body = file.read(length)
    if body.startswith(_PNG):
        return Picture(io.BytesIO(body))
    return _bitmap(body)


def _bitmap(body: bytes) -> Picture:
    """Return a bitmap as a BMP without the mask, and its transparency.

    The transparency comes from the mask, which has one bit per pixel; 1 is transparent. The rows of
    the mask begin at the bottom, and each row is padded to a multiple of 32 bits. But if the bitmap
    has 32 bits per pixel, the transparency is the fourth byte of each pixel, unless this byte is 0
    everywhere.
    """
    if len(body) < _HEADER:
        raise Undecodable("damaged")
    header, width, double, _, bits, compression = struct.unpack_from("<IiiHHI", body)
    height = abs(double) // 2
    if header not in _HEADERS or width <= 0 or height <= 0:
        raise Undecodable("damaged")
    if compression != 0:
        raise Undecodable("unsupported")
    if max(width, height) > MAX_EDGE:
        raise Undecodable("too_expensive")
    (colours,) = struct.unpack_from("<I", body, 32)
    table = 4 * (colours or 1 << bits) if bits <= 8 else 0
    pixels_at = header + table
    pixels = (width * bits + 31) // 32 * 4 * height
    mask_at = pixels_at + pixels
    shown = body[:8] + struct.pack("<i", height) + body[12:mask_at]
    file = b"BM" + struct.pack("<IHHI", 14 + len(shown), 0, 0, 14 + pixels_at) + shown
    alpha = None
    if bits == 32:
        alpha = _alpha(body[pixels_at:mask_at], width, height)
    if alpha is None:
        alpha = _mask(body[mask_at:], width, height)
    return Picture(io.BytesIO(file), alpha)


def _alpha(pixels: bytes, width: int, height: int) -> Image.Image | None:
    """Return the fourth byte of each pixel as alpha; None if all are 0 or some are missing."""
    samples = pixels[3::4]
    if len(samples) < width * height or not any(samples):
        return None
    return Image.frombytes("L", (width, height), samples, "raw", "L", 0, -1)


def _mask(mask: bytes, width: int, height: int) -> Image.Image | None:
    """Return the mask inverted, as alpha; None if the mask is missing."""
    row = (width + 31) // 32 * 4
    if len(mask) < row * height:
        return None
    return Image.frombytes("1", (width, height), mask, "raw", "1;I", row, -1).convert("L")
