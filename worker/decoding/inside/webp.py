"""WebP's container: how large a picture is, and its first picture where the rest is missing.

libwebp's reader of animations, which Pillow uses, refuses a file as a whole that is not whole.
Numbers are those of the WebP container specification.
"""

import os
import struct
from typing import BinaryIO, Final

MAX_CHUNKS: Final = 1000
"""Chunks that are walked over at the most; the first picture stands before all others."""

_HEAD: Final = 12
_IMAGES: Final = (b"VP8 ", b"VP8L", b"ANMF")
_FRAME_HEAD: Final = 16
_LEAST_PICTURE: Final = 10
"""Bytes of a picture's own header, at the least."""

_FILLED_UP: Final = 4
"""How many times its length a picture that is cut off goes on: noise of `fill` takes more bytes."""

_MAX_FILLED_BYTES: Final = 64 * 1024 * 1024
_KEPT: Final = (b"VP8X", b"ICCP", b"ANIM", b"ALPH", b"EXIF")
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
"""What of metadata is kept at the most: as much as a colour profile may have."""


def read_size(head: bytes) -> tuple[int, int] | None:
    """Read the size of the canvas from the first 30 bytes of a WebP; None if they do not tell."""
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
            int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1,
        )  # fmt: skip
    else:
        return None
    return size if all(size) else None


def first_picture(file: BinaryIO, fill: int) -> bytes:
    """Give a WebP of what stands up to the end of the first picture.

    A picture that is cut off goes on with bytes of `fill`, more than it had: libwebp gives nothing
    of one that ends too early. Raises ValueError where not even its beginning is there.
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
    raise ValueError("no picture begins in this WebP")


def _filled(name: bytes, body: bytes, length: int, fill: int) -> bytes:
    """Give a chunk that holds a picture, filled up where its body has not that length."""
    missing = length - len(body)
    if missing <= 0:
        return _chunk(name, body)
    if name != b"ANMF":
        if len(body) < _LEAST_PICTURE:
            raise ValueError("no picture begins in this WebP")
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
    raise ValueError("no picture begins in this WebP")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
