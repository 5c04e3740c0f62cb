"""Read WebP's container: the size of the canvas, and the first picture of a file that is cut off.

Pillow uses libwebp's reader of animations, which rejects an incomplete file as a whole. The numbers
are from the WebP container specification.
"""

import os
import struct
from typing import BinaryIO, Final

MAX_CHUNKS: Final = 1000
"""Maximum number of chunks that are read to find the first picture."""

_HEAD: Final = 12
_IMAGES: Final = (b"VP8 ", b"VP8L", b"ANMF")
_FRAME_HEAD: Final = 16
_LEAST_PICTURE: Final = 10
"""Minimum length of a picture's own header, in bytes."""

_FILLED_UP: Final = 4
"""If a picture is cut off, filling bytes replace the missing bytes. Further filling bytes are
added, because the decoder may use more of them than it would use real bytes. This is their number
as a multiple of the picture's stated length."""

_MAX_FILLED_BYTES: Final = 64 * 1024 * 1024
_KEPT: Final = (b"VP8X", b"ICCP", b"ANIM", b"ALPH", b"EXIF")
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
"""Maximum size, in bytes, of the metadata chunks that are kept. A colour profile has the same
maximum."""


def read_size(head: bytes) -> tuple[int, int] | None:
    """Return the canvas's size, in pixels, from a WebP's first 30 bytes; None if they lack it."""
    kind = head[12:16]
    if len(head) < (25 if kind == b"VP8L" else 30):
        return None
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        size = width & 0x3FFF, height & 0x3FFF
    elif kind == b"VP8L" and head[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", head, 21)
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        size = (
            int.from_bytes(head[24:27], "little") + 1,
            int.from_bytes(head[27:30], "little") + 1,
        )
    else:
        return None
    return size if all(size) else None


def is_lossless(file: BinaryIO) -> bool:
    """Return True if the first picture of a WebP is lossless (VP8L)."""
    at = _HEAD
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8 + _FRAME_HEAD + 8)
        name = head[:4]
        if len(head) < 8 or name == b"VP8 ":
            return False
        if name == b"ANMF":
            return head[8 + _FRAME_HEAD :].startswith(b"VP8L")
        if name == b"VP8L":
            return True
        length = int.from_bytes(head[4:8], "little")
        at += 8 + length + length % 2
    return False


def first_picture(file: BinaryIO, fill: int) -> bytes:
    """Return a WebP with the content of the file up to the end of its first picture.

    If the picture is cut off, bytes with the value `fill` are added, even beyond the picture's
    stated length. Without them, libwebp would return no pixels. Raises ValueError if the file ends
    before the data of the first picture.
    """
    size = file.seek(0, os.SEEK_END)
    at = _HEAD
    kept = b""
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if name in _IMAGES:
            return _chunk(b"RIFF", b"WEBP" + kept + _filled(name, file.read(length), length, fill))
        end = at + 8 + length + length % 2
        if name in _KEPT and end <= size and len(kept) + length <= _MAX_KEPT_BYTES:
            kept += head + file.read(length).ljust(length + length % 2, b"\0")
        at = end
    raise ValueError("this WebP contains no picture")


def _filled(name: bytes, body: bytes, length: int, fill: int) -> bytes:
    """Return a chunk with a picture, extended if its body is shorter than `length`."""
    missing = length - len(body)
    if missing <= 0:
        return _chunk(name, body)
    if name != b"ANMF":
        if len(body) < _LEAST_PICTURE:
            raise ValueError("this WebP contains no picture")
        more = min(missing + _FILLED_UP * length, _MAX_FILLED_BYTES)
        return _chunk(name, body + bytes([fill]) * more)
    at = _FRAME_HEAD
    kept = body[:at]
    while len(head := body[at : at + 8]) == 8:
        inner, inner_length = head[:4], int.from_bytes(head[4:], "little")
        end = at + 8 + inner_length + inner_length % 2
        if inner in _IMAGES:
            picture = body[at + 8 : at + 8 + inner_length]
            return _chunk(name, kept + _filled(inner, picture, inner_length, fill))
        kept += body[at:end]
        at = end
    raise ValueError("this WebP contains no picture")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
