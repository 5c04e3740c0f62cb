"""Estimate an image's memory and CPU time from its header, and compare them with a budget.

An image is rejected by its header only if it is clearly over the budget. Even if the header is
wrong, the sandbox limits memory and CPU time. The factors were measured with Pillow 13 on one core
of 2.5 GHz, on drawn images of 20 to 200 megapixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from worker.decoding.inside.jpeg import Header

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The memory, in bytes, and the CPU time, in seconds, that decoding an image takes at most."""

    memory_bytes: float
    cpu_s: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            memory_bytes=self.memory_bytes + other.memory_bytes, cpu_s=self.cpu_s + other.cpu_s
        )

    def exceeds(self, budget: "Cost") -> bool:
        """Return True if the memory or the CPU time is above the budget."""
        return self.memory_bytes > budget.memory_bytes or self.cpu_s > budget.cpu_s


BUDGET: Final = Cost(memory_bytes=800 * MIB, cpu_s=5.0)
"""Maximum estimated cost of one image. A sandbox has 1 GiB of address space, of which Python,
Pillow and the codecs use about 150 MiB."""

NOTHING: Final = Cost(memory_bytes=0, cpu_s=0)
"""A budget for which every image is too large. With it, only the size of an image is read."""

_PIXEL_BYTES: Final = {
    "1": 2,
    "L": 1,
    "P": 5,
    "I;16": 7,
    "I;16B": 11,
    "I;16L": 7,
    "LA": 8,
    "PA": 9,
    "RGB": 4,
    "RGBA": 8,
    "RGBX": 4,
    "CMYK": 8,
    "YCbCr": 8,
    "LAB": 8,
    "La": 12,
    "RGBa": 12,
}
"""Bytes per pixel in each of Pillow's modes, including the copies that a thumbnail needs."""

_COPIED: Final = {"GIF": 1, "WEBP": 12, "AVIF": 8, "HEIF": 14, "JXL": 10}
"""Additional bytes per pixel, by format. The decoder needs them for buffers or for a canvas."""

_PIXEL_NS: Final = {"PNG": 14, "GIF": 12, "WEBP": 30, "AVIF": 30, "TIFF": 14, "HEIF": 40, "JXL": 60}
"""CPU time per pixel by format, in nanoseconds. Shrinking is included."""

_RUN_LENGTH_NS: Final = 100.0
"""CPU time, in nanoseconds, per pixel of a BMP with run lengths, which Pillow decodes in Python."""

_TRANSPARENT_BYTES: Final = 8
_INTERLACED: Final = 1.5
_BIT_NS: Final = 4
"""CPU time per pixel in images of one bit per pixel, in nanoseconds."""

_SHOWN_BYTES: Final = 16
_SHOWN_NS: Final = 170
"""Memory and CPU time per pixel of a thumbnail in a further style: to shrink the image, to convert
the result to sRGB and to encode it. PNG and WebP take about this time, JPEG takes 40 ns. A WebP
that keeps every pixel takes 500 ns, but only if the original is no larger than the style."""


def of_jpeg(header: Header, file_bytes: int, scale: int) -> Cost:
    """Estimate the cost of a JPEG that the decoder shrinks by the factor `scale`."""
    pixels = header.width * header.height
    samples = pixels * header.samples
    shown = -(-header.width // scale) * -(-header.height // scale)
    memory: float = (
        shown * (1 if header.components == 1 else 4) * (2 if header.components == 4 else 1)
    )
    cpu_ns = samples * 1.2 + file_bytes * 12 + shown * 8
    if header.progressive or not header.single_scan:
        # libjpeg stores all coefficients until the last scan, with 16 bits for each
        memory += samples * 2
        cpu_ns += samples * max(1, len(header.scans)) * 0.3
    return Cost(memory_bytes=memory + header.width * 256, cpu_s=cpu_ns / 1e9)


def of_image(image: Image.Image) -> Cost:
    """Estimate the cost of an image whose header has been read."""
    kind = image.format or ""
    pixels = image.width * image.height
    per_pixel = _PIXEL_BYTES.get(image.mode, 8) + _COPIED.get(kind, 0)
    if "transparency" in image.info:
        per_pixel += _TRANSPARENT_BYTES
    ns = float(_PIXEL_NS.get(kind, 14) if image.mode != "1" else _BIT_NS)
    if any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ())):
        ns = _RUN_LENGTH_NS
        per_pixel += 1
    if image.info.get("interlace") and kind == "PNG":
        ns *= _INTERLACED
    return Cost(memory_bytes=pixels * per_pixel, cpu_s=pixels * ns / 1e9)


def of_sizes(sizes: Iterable[tuple[int, int]]) -> Cost:
    """Estimate the additional cost of thumbnails in further sizes."""
    pixels = sum(width * height for width, height in sizes)
    return Cost(memory_bytes=pixels * _SHOWN_BYTES, cpu_s=pixels * _SHOWN_NS / 1e9)


def of_canvas(width: int, height: int) -> Cost:
    """Estimate the cost of an empty RGBA canvas on which a frame is placed."""
    pixels = width * height
    return Cost(memory_bytes=pixels * _PIXEL_BYTES["RGBA"], cpu_s=pixels * _PIXEL_NS["PNG"] / 1e9)


def of_webp(width: int, height: int) -> Cost:
    """Estimate the cost of a WebP from its size, before Pillow's reader allocates memory."""
    pixels = width * height
    return Cost(
        memory_bytes=pixels * (_PIXEL_BYTES["RGB"] + _COPIED["WEBP"]),
        cpu_s=pixels * _PIXEL_NS["WEBP"] / 1e9,
    )
