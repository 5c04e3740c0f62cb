"""PNG's chunks besides the pixels: what is not used is not read, and none of it breaks an image.

Pillow decompresses and keeps every text, compares checksums of what it does not need, and gives up
a whole image for a bad chunk; browsers, and people who want to see their picture, do not mind.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from PIL import ImageFile, PngImagePlugin

from worker.decoding.inside.colours import MAX_PROFILE_BYTES
from worker.decoding.inside.polyglots import MAX_BLOCKS

UNUSED: Final = (
    "iTXt", "tEXt", "zTXt", "gAMA", "cHRM", "sRGB", "pHYs", "tIME", "acTL", "fcTL", "fdAT",
)  # fmt: skip
"""Chunks that a thumbnail has no use for. Of an animation the image that every reader knows is
shown, so nothing that is wrong with its frames matters."""

TOLD: Final = ("tRNS", "eXIf")
"""Chunks that are used where they can be read."""

MAX_HEADER_CHUNKS: Final = 1000
"""Chunks before the pixels that are walked over at the most, where their checksums are compared."""

ADAM7: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""Column and row of the first pixel of each pass of an interlaced one, and steps (section 8.2)."""

_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE_BYTES: Final = 256 * 1024


def ignore_what_is_not_used() -> None:
    """Make Pillow's reader step over UNUSED and over what it cannot read of other chunks.

    Checksums are not compared: of the pixels zlib has its own, and `has_wrong_checksum` looks at
    those of the header. May be repeated. The handlers are looked up by name when a chunk comes, so
    this is all it takes.
    """
    stream = PngImagePlugin.PngStream
    for name in UNUSED:
        setattr(stream, f"chunk_{name}", _skip)
    for name in TOLD:
        handler = getattr(stream, f"chunk_{name}")
        if not getattr(handler, "forgives", False):
            setattr(stream, f"chunk_{name}", _forgiving(handler))
    setattr(stream, "chunk_iCCP", _colour_profile)  # noqa: B010 - mypy minds the plain form
    setattr(stream, "crc", PngImagePlugin.ChunkStream.crc_skip)  # noqa: B010 - as above


def has_wrong_checksum(file: BinaryIO) -> bool:
    """Whether the header or the palette of a PNG is not what its checksum says (section 5.3)."""
    file.seek(8)
    for _ in range(MAX_HEADER_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b"IDAT", b"IEND"):
            return False
        length = int.from_bytes(head[:4], "big")
        if head[4:] in (b"IHDR", b"PLTE"):
            if length > 768:
                return True
            body = file.read(length)
            if zlib.crc32(head[4:] + body) != int.from_bytes(file.read(4), "big"):
                return True
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return False


def last_of_pixels(file: BinaryIO) -> int | None:
    """Find the last byte of the compressed pixels, with which zlib's checksum of them is complete.

    None where they are not all there. A wrong checksum costs the last row, as zlib tells of it in
    the call that would have given that row. Without this byte it waits for it instead.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(8)
    last = None
    for _ in range(MAX_BLOCKS):
        head = file.read(8)
        length = int.from_bytes(head[:4], "big")
        if len(head) < 8 or (last is not None and head[4:] != b"IDAT"):
            break
        if head[4:] == b"IDAT" and length:
            last = file.tell() + length - 1
        file.seek(length + 4, os.SEEK_CUR)
    return last if last is not None and last < size else None


def lacks_rows(file: BinaryIO) -> bool:
    """Whether the compressed pixels of a PNG end, in good order, before all rows are there.

    Pillow leaves the rest as it was, without a word. All pixels are inflated to find out.
    """
    file.seek(16)
    width, height, bits, colour, _, _, interlaced = struct.unpack("!IIBBBBB", file.read(13))
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    wanted = 0
    for column, row, across, down in passes:
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            wanted += rows * (1 + -(-columns * bits * _SAMPLES.get(colour, 1) // 8))
    unpacker = zlib.decompressobj()
    for piece in _pixels(file):
        wanted -= len(unpacker.decompress(piece, _PIECE_BYTES))
        while unpacker.unconsumed_tail and wanted > 0:
            wanted -= len(unpacker.decompress(unpacker.unconsumed_tail, _PIECE_BYTES))
        if wanted <= 0 or unpacker.eof:
            break
    return wanted > 0


def _pixels(file: BinaryIO) -> Iterator[bytes]:
    file.seek(8)
    for _ in range(MAX_BLOCKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        left = int.from_bytes(head[:4], "big")
        if head[4:] != b"IDAT":
            file.seek(left + 4, os.SEEK_CUR)
            continue
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
        file.seek(4, os.SEEK_CUR)


def _skip(stream: PngImagePlugin.PngStream, _: int, length: int) -> bytes:
    assert stream.fp is not None
    stream.fp.seek(length, os.SEEK_CUR)
    return b""


def _forgiving(handler: object) -> object:
    """Wrap a handler, which reads its chunk as a whole before it looks at what that says."""

    def forgive(stream: PngImagePlugin.PngStream, position: int, length: int) -> bytes:
        try:
            body: bytes = handler(stream, position, length)  # type: ignore[operator]  # Pillow's own
        except OSError:  # the file ends before the chunk does
            raise
        except Exception:  # Pillow lets struct.error, IndexError and ValueError escape
            return b""
        return body

    forgive.forgives = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    return forgive


def _colour_profile(stream: PngImagePlugin.PngStream, _: int, length: int) -> bytes:
    """Keep the profile of an iCCP chunk: its name, 0, how it is compressed (0), and the rest."""
    assert stream.fp is not None
    # private in Pillow: reads as its own handlers do, in pieces, and raises OSError at the end
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
