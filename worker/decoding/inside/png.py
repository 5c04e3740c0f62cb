"""Skip the PNG chunks that a thumbnail does not need, and ignore faults in the others.

Without this, Pillow would decompress and store every text, and verify checksums of data that it
does not need. It would also reject an image because of one bad chunk, although browsers show the
image.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final

from PIL import ImageFile, PngImagePlugin

from worker.decoding.inside.colour_spaces import ColourSpace, by_code_points, by_gamma
from worker.decoding.inside.colours import MAX_PROFILE_BYTES
from worker.decoding.inside.polyglots import MAX_BLOCKS

UNUSED: Final = (
    "iTXt",
    "tEXt",
    "zTXt",
    "pHYs",
    "tIME",
    "acTL",
    "fcTL",
    "fdAT",
)
"""Chunks that Pillow need not read for a thumbnail. The chunks of animations are among them: the
thumbnail shows the default image, or the first frame, which `apng` reads."""

OPTIONAL: Final = ("tRNS", "eXIf", "gAMA", "cHRM", "sRGB")
"""Chunks that are used if they can be parsed, and otherwise ignored."""

MAX_HEADER_CHUNKS: Final = 1000
"""Maximum number of chunks that `has_wrong_checksum` reads before the pixels."""

ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""For each pass of an interlaced image: the first column, the first row, the distance of its
columns and the distance of its rows (PNG specification, section 8.2)."""

ICC_SIGNATURE: Final = b"acsp"
"""The bytes 36 to 39 of an ICC profile (ICC.1:2010, section 7.2.9)."""

_ICC_HEADER_BYTES: Final = 128

_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE_BYTES: Final = 256 * 1024


def skip_unused_chunks() -> None:
    """Make Pillow's reader skip UNUSED chunks, and ignore OPTIONAL chunks that it cannot parse.

    Pillow then verifies no checksums. This is no loss: zlib verifies its own checksum of the
    pixels, and `has_wrong_checksum` verifies the checksums of the header. The handlers of chunks
    are attributes of Pillow's class, so this function replaces the attributes. May be repeated.
    """
    stream = PngImagePlugin.PngStream
    for name in UNUSED:
        setattr(stream, f"chunk_{name}", _skip)
    for name in OPTIONAL:
        handler = getattr(stream, f"chunk_{name}")
        if not getattr(handler, "forgives", False):
            setattr(stream, f"chunk_{name}", _forgiving(handler))
    setattr(stream, "chunk_iCCP", _colour_profile)  # noqa: B010 - mypy rejects the plain form
    setattr(stream, "chunk_cICP", _code_points)  # noqa: B010 - as above
    setattr(stream, "crc", PngImagePlugin.ChunkStream.crc_skip)  # noqa: B010 - as above


def colour_of(info: Mapping[str | tuple[int, int], object]) -> bytes | ColourSpace | None:
    """Return the colour space or ICC profile that the header's chunks give; None for sRGB.

    If there are several of these chunks, the first one in this order is used: cICP, iCCP, sRGB,
    gAMA with cHRM. Browsers ignore cHRM without gAMA, and an iCCP whose profile is cut off. Source:
    PNG specification, third edition, 11.3.2 and 13.13.
    """
    points = info.get("cicp")
    if isinstance(points, bytes) and (space := _space(points)) is not None:
        return space
    profile, gamma, corners = (info.get(name) for name in ("icc_profile", "gamma", "chromaticity"))
    if isinstance(profile, bytes) and _is_whole(profile):
        return profile
    if "srgb" in info or not isinstance(gamma, float):
        return None
    return by_gamma(gamma, tuple(corners) if isinstance(corners, tuple) else None)


def _is_whole(profile: bytes) -> bool:
    """Return True if bytes are an ICC profile, and not cut off (ICC.1:2010, section 7.2)."""
    stated = int.from_bytes(profile[:4], "big")
    return profile[36:40] == ICC_SIGNATURE and _ICC_HEADER_BYTES < stated <= len(profile)


def _space(points: bytes) -> ColourSpace | None:
    """Return the colour space of a cICP chunk; None unless it is RGB in full range."""
    primaries, transfer, matrix, is_full = points
    return by_code_points(primaries, transfer) if matrix == 0 and is_full == 1 else None


def has_wrong_checksum(file: BinaryIO) -> bool:
    """Return True if the checksum of a PNG's IHDR or PLTE is wrong (specification, 5.3)."""
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
    """Return the offset of the last byte of the compressed pixels; None if the file is cut off.

    A reader that withholds this byte can save the last row. The byte ends zlib's checksum of the
    pixels. If the checksum is wrong, zlib fails in the call that should return the last row.
    Without this byte, zlib returns the row and waits for more data.
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
    """Return True if a PNG's compressed pixels have fewer rows than the header states.

    If such data are correctly compressed, Pillow raises no error, and the missing rows stay
    unwritten. This function decompresses all pixels.
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
    """Wrap a handler so that it ignores faults in its chunk.

    The handler reads the whole chunk before it parses it. So if parsing fails, the file is already
    at the chunk's end.
    """

    def forgive(stream: PngImagePlugin.PngStream, position: int, length: int) -> bytes:
        try:
            body: bytes = handler(stream, position, length)  # type: ignore[operator]  # Pillow's own
        except OSError:  # the file ends inside the chunk
            raise
        except Exception:  # Pillow raises struct.error, IndexError and ValueError
            return b""
        return body

    forgive.forgives = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    return forgive


def _code_points(stream: PngImagePlugin.PngStream, _: int, length: int) -> bytes:
    """Store the four numbers of a cICP chunk."""
    assert stream.fp is not None
    # `_safe_read` is private in Pillow: see `_colour_profile`
    body: bytes = ImageFile._safe_read(stream.fp, length)
    if len(body) == 4:
        stream.im_info["cicp"] = body
    return body


def _colour_profile(stream: PngImagePlugin.PngStream, _: int, length: int) -> bytes:
    """Store the profile of an iCCP chunk: name, a 0 byte, compression method (0), zlib data."""
    assert stream.fp is not None
    # `_safe_read` is private in Pillow. Pillow's own handlers use it: it reads in pieces, and
    # raises OSError at the end of the file.
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
