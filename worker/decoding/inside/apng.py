"""Find the first frame of an animated PNG whose default image is not a part of the animation.

Browsers show only the animation. Source: PNG specification, third edition, 11.3.4.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.decoding.inside.polyglots import MAX_BLOCKS

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Maximum number of compressed bytes of a first frame. If the frame has more, the thumbnail shows
the default image."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = frozenset(
    {b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"eXIf", b"sBIT"}
)
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
_CONTROL_BYTES: Final = 26


@dataclass(frozen=True, slots=True)
class Frame:
    """The first frame: a PNG, its position on the canvas, its size, and the size of the canvas."""

    file: BinaryIO
    position: tuple[int, int]
    size: tuple[int, int]
    canvas: tuple[int, int]

    @property
    def covers_all(self) -> bool:
        """True if no part of the canvas stays empty."""
        return self.size == self.canvas


def first_frame(file: BinaryIO) -> Frame | None:
    """Return the first frame of a PNG whose default image is hidden; None for any other file.

    Returns None also if the frame is malformed, cut off or too large. Reads no more of the file
    than needed.
    """
    file.seek(0)
    start = file.read(8 + 25)
    if len(start) < 33 or not start.startswith(_SIGNATURE + b"\0\0\0\x0dIHDR"):
        return None
    canvas = struct.unpack_from(">II", start, 16)
    kept = b""
    is_animated = is_after_pixels = False
    for name, length in _chunks(file):
        if name == b"IDAT":
            if not is_animated:
                return None
            is_after_pixels = True
        elif name == b"acTL":
            is_animated = True
        elif name == b"fcTL":
            # If the first fcTL comes before the pixels, the default image is the first frame.
            return _frame(file, start, kept, canvas) if is_after_pixels else None
        elif name in _KEPT and not is_after_pixels and len(kept) + length <= _MAX_KEPT_BYTES:
            file.seek(-8, io.SEEK_CUR)
            kept += file.read(length + 12)
            file.seek(-length - 4, io.SEEK_CUR)
    return None


def _frame(file: BinaryIO, start: bytes, kept: bytes, canvas: tuple[int, int]) -> Frame | None:
    """Return the frame whose fcTL begins at the current position of the file."""
    control = file.read(_CONTROL_BYTES)
    if len(control) < _CONTROL_BYTES:
        return None
    _, width, height, left, top = struct.unpack_from(">IIIII", control)
    if not (0 < width <= canvas[0] - left and 0 < height <= canvas[1] - top):
        return None
    file.seek(-_CONTROL_BYTES, io.SEEK_CUR)
    pixels = b""
    for name, length in _chunks(file, _CONTROL_BYTES):
        if name != b"fdAT" or len(pixels) + length > MAX_FRAME_BYTES:
            break
        body = file.read(length)
        if len(body) < max(length, 4):
            return None
        pixels += body[4:]  # skip the sequence number of four bytes
        file.seek(-length, io.SEEK_CUR)
    if not pixels:
        return None
    header = _chunk(b"IHDR", struct.pack(">II", width, height) + start[24:29])
    made = _SIGNATURE + header + kept + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return Frame(io.BytesIO(made), (left, top), (width, height), canvas)


def _chunks(file: BinaryIO, first: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the length of each chunk. The file is then at the chunk's data.

    The caller may read the data, but must then return to its start. If `first` is given, the file
    is at the data of a chunk of this length when the function is called. This chunk is skipped.
    """
    if first is not None:
        file.seek(first + 4, io.SEEK_CUR)
    for _ in range(MAX_BLOCKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], length
        file.seek(length + 4, io.SEEK_CUR)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
