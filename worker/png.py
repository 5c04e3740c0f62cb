"""PNG's chunks besides the pixels: what is not used is not read, and none of it breaks an image.

Pillow decompresses and keeps every text, and gives up a whole image for a bad one; browsers, and
people who want to see their picture, do not mind.
"""

import zlib
from typing import Final

from PIL import ImageFile, PngImagePlugin

from worker.colours import MAX_PROFILE_BYTES

UNUSED: Final = ("iTXt", "tEXt", "zTXt", "gAMA", "cHRM", "sRGB", "pHYs")
"""Chunks that a thumbnail has no use for. Without a handler Pillow steps over them."""


def ignore_what_is_not_used() -> None:
    """Make Pillow's reader step over UNUSED, and over colour profiles that it cannot read.

    May be repeated. The handlers are looked up by name when a chunk comes, so this is all it takes.
    """
    stream = PngImagePlugin.PngStream
    for name in UNUSED:
        if hasattr(stream, f"chunk_{name}"):
            delattr(stream, f"chunk_{name}")
    setattr(stream, "chunk_iCCP", _colour_profile)  # noqa: B010 - mypy minds the plain form


def _colour_profile(stream: PngImagePlugin.PngStream, _: int, length: int) -> bytes:
    """Keep the profile of an iCCP chunk: its name, 0, how it is compressed (0), and the rest."""
    assert stream.fp is not None
    body: bytes = ImageFile._safe_read(stream.fp, length)
    compressed = body[body.find(b"\0") + 1 :]
    if compressed[:1] == b"\0":
        unpacker = zlib.decompressobj()
        try:
            profile = unpacker.decompress(compressed[1:], MAX_PROFILE_BYTES)
        except zlib.error:
            return body
        if unpacker.eof:
            stream.im_info["icc_profile"] = profile
    return body
