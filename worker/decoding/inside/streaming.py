"""Shrink a PNG or WebP while it is decoded, so that its pixels are never all in memory.

A PNG without alpha is shrunk to its final size. Other images keep at least SHRINK_GAP times that
size, as a JPEG that its decoder shrinks. A file that is unusual or has a fault is left to Pillow's
readers: they decode more kinds, and `damage` recovers a part of the image.
"""

import io
import os
import struct
from typing import BinaryIO, Final

from PIL import Image, ImageFile

from worker.decoding.inside import libwebp, vips
from worker.decoding.inside.shrinking import WEIGHTED, Rectangle, reduction

LEAST_PIXELS: Final = 100_000
"""Smaller images are left to Pillow, because they are decoded fast anyway."""

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Maximum size of a file, in bytes, because the whole file is copied to memory."""

STRIP_ROWS: Final = 64
"""The approximate number of rows of a PNG with alpha that are decoded at once."""

WEBP_GAP: Final = 2
"""The size to which libwebp shrinks an image, as a multiple of the thumbnail's size."""

_PALETTE: Final = 3
"""The colour type of a PNG with a palette (specification, 11.2.1)."""

_HEADER_BYTES: Final = 29
"""The bytes of a PNG up to the field that states whether it is interlaced."""


def load() -> None:
    """Load the libraries and use each once, so that no later image loads code.

    Call this before the sandbox is sealed. Raises ImportError or VipsError.
    """
    file = io.BytesIO()
    Image.new("RGB", (640, 640)).save(file, "PNG")
    pixels, _ = _shrunk_png((640, 640), file.getvalue(), (320, 320))
    vips.lanczos(pixels, (160, 160))
    libwebp.load()


def shrunk(
    image: ImageFile.ImageFile, file: BinaryIO, size: tuple[int, int]
) -> tuple[Image.Image, Rectangle] | None:
    """Decode an image whose header was read, for a thumbnail of `size` pixels.

    Returns the shrunk image and the part of it that belongs to the original, in pixels. Returns
    None if Pillow should decode the image instead.
    """
    if image.format not in ("PNG", "WEBP") or image.width * image.height < LEAST_PIXELS:
        return None
    if file.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
        return None
    file.seek(0)
    if image.format == "WEBP":
        return _shrunk_webp(image.size, file.read(), size)
    head = file.read(_HEADER_BYTES)
    if not _is_plain(head) or ("transparency" in image.info and image.mode != "P"):
        return None
    try:
        return _shrunk_png(image.size, head + file.read(), size)
    except vips.VipsError:
        return None


def _shrunk_webp(
    original: tuple[int, int], content: bytes, size: tuple[int, int]
) -> tuple[Image.Image, Rectangle] | None:
    larger = min(original[0], size[0] * WEBP_GAP), min(original[1], size[1] * WEBP_GAP)
    pixels = libwebp.decode(content, larger)
    return None if pixels is None else (pixels, (0, 0, *larger))


def _shrunk_png(
    original: tuple[int, int], content: bytes, size: tuple[int, int]
) -> tuple[Image.Image, Rectangle]:
    """Shrink a PNG while its rows are decoded. Raises VipsError."""
    with vips.open_png(content) as rows:
        if rows.size != original:
            raise vips.VipsError("the size differs")
        if rows.mode not in WEIGHTED:
            return rows.shrink(size), (0, 0, *size)
        width, height = original
        across, down = reduction(original, size)
        strip = down * max(1, STRIP_ROWS // down)
        weighted = Image.new(WEIGHTED[rows.mode], (-(-width // across), -(-height // down)))
        for top in range(0, height, strip):
            part = rows.read(top, min(strip, height - top)).convert(weighted.mode)
            weighted.paste(part.reduce((across, down)), (0, top // down))
        return weighted.convert(rows.mode), (0, 0, width / across, height / down)


def _is_plain(head: bytes) -> bool:
    """Return True if a PNG is not interlaced, and has 8 bits per sample or a palette."""
    bits, colour, _, _, interlaced = struct.unpack_from("!5B", head, 24)
    return not interlaced and (bits == 8 or colour == _PALETTE)
