"""Bad files of the optional formats: truncated, with flipped bits, or with too many pixels.

The files belong to rows 72, 73 and 78 of limits.md, for AVIF, TIFF, HEIC and JPEG XL.
"""

import struct
from functools import partial
from typing import Final

from tests.data.damaged import FLIPPED, PIECES, cut, flipped
from tests.data.pieces import tiff
from tests.data.sample import ANY_OUTCOME, DAMAGED, EXPENSIVE, Sample, image
from tests.data.seeds import seed

SETTING: Final = "avif,tiff,heic,jxl,video"
"""The value of ATTACHMENTS_MORE_FORMATS that enables the decoders of the optional formats."""

STILL: Final = ("lzw.tiff", "scanned.tiff", "avif", "heic", "jxl", "lossless.jxl")
SIDE: Final = 30_000


def declared_type(name: str, side: int) -> bytes:
    """Return a valid AVIF or HEIC file whose header has `side` as width and height, and no crop."""
    content = seed(name)
    at = content.index(b"ispe") + 8
    content = content[:at] + struct.pack("!II", side, side) + content[at + 8 :]
    return content.replace(b"clap", b"free")


def jxl_header(side: int) -> bytes:
    """Return the header of a JPEG XL whose width and height are `side`, and which has no pixels."""
    # From the lowest bit: the height in 30 bits, the same width, then only default values.
    bits = 0b11 << 1 | (side - 1) << 3 | 1 << 33 | 0b11 << 36
    return b"\xff\x0a" + bits.to_bytes(8, "little")


def _extension(name: str) -> str:
    return name.rpartition(".")[2]


CUT = tuple(
    image(72, f"{name}-{part}-of-16", _extension(name), partial(cut, name, part), DAMAGED)
    for name in STILL
    for part in range(1, PIECES)
)

FLIPS = tuple(
    image(
        78,
        f"{name}-flipped-{number}",
        _extension(name),
        partial(flipped, name, number),
        ANY_OUTCOME,
    )
    for name in STILL
    for number in range(FLIPPED)
)

PIXELS = (
    image(
        73,
        "tiff-30000",
        "tiff",
        lambda: tiff(SIDE, SIDE, [b"\x80\x40"] * 300, rows=100, compression=5),
        EXPENSIVE,
    ),
    # The AVIF decoder has its own limit of 2^28 pixels. It reports a larger image as damaged.
    image(73, "avif-30000", "avif", partial(declared_type, "avif", SIDE), EXPENSIVE | DAMAGED),
    image(73, "avif-16384", "avif", partial(declared_type, "avif", 16_384), EXPENSIVE),
    image(73, "jxl-30000", "jxl", partial(jxl_header, SIDE), EXPENSIVE),
    image(73, "heic-30000", "heic", partial(declared_type, "heic", SIDE), EXPENSIVE),
)

SAMPLES: Final[tuple[Sample, ...]] = CUT + FLIPS + PIXELS
