"""BMP files, icons and cursors of any colour depth, written by code byte by byte."""

import struct
from typing import Final

COLOUR: Final = (200, 100, 50)
WIDTH: Final = 40
HEIGHT: Final = 30
EDGE: Final = 32

PALETTE: Final = bytes([0, 0, 0, 0, 50, 100, 200, 0])
"""A palette of black and COLOUR. The bytes of each colour are blue, green, red and 0."""

SOLID: Final = {1: b"\xff", 4: b"\x11", 8: b"\1", 24: bytes([50, 100, 200])}
"""Pixel bytes that fill a picture with COLOUR, by the number of bits per pixel."""


def bmp(
    bits: int,
    pixels: bytes,
    *,
    compression: int = 0,
    header_bytes: int = 40,
    masks: bytes = b"",
    height: int = HEIGHT,
    palette: bytes = b"",
) -> bytes:
    """Return a BMP file.

    `masks` are the bytes after the first 40 bytes of the header. A negative height means that the
    rows are stored from top to bottom.
    """
    colours = len(palette) // 4
    header = struct.pack(
        "<IiiHHIIiiII", header_bytes, WIDTH, height, 1, bits, compression, 0, 0, 0, colours, 0
    )
    header = (header + masks).ljust(header_bytes, b"\0") + palette
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + pixels


def dib(
    bits: int, pixel: bytes, *, is_masked: bool = False, edge: int = EDGE, rows: int | None = None
) -> bytes:
    """Return a bitmap as icons store it: the pixels, then a mask with one bit for each pixel."""
    palette = PALETTE if bits <= 8 else b""
    row = (edge * bits + 31) // 32 * 4
    body = (pixel * (row // len(pixel) + 1))[:row] * edge
    mask = (b"\xff" if is_masked else b"\0") * ((edge + 31) // 32 * 4 * edge)
    header = struct.pack(
        "<IiiHHIIiiII",
        40,
        edge,
        2 * (rows or edge),
        1,
        bits,
        0,
        0,
        0,
        0,
        len(palette) // 4,
        0,
    )
    return header + palette + body + mask


def icon_of(*pictures: tuple[int, int, bytes], kind: int = 1) -> bytes:
    """Return an icon (kind 1) or a cursor (kind 2).

    A picture is a tuple: its edge in pixels, its bits per pixel, and its bytes.
    """
    at = 6 + 16 * len(pictures)
    table, bodies = struct.pack("<HHH", 0, kind, len(pictures)), b""
    for edge, bits, body in pictures:
        # In a cursor, these two fields are the coordinates of its hot spot.
        planes, depth = (1, bits) if kind == 1 else (3, 5)
        shown = edge % 256  # an edge of 256 pixels is stored as 0
        table += struct.pack("<BBBBHHII", shown, shown, 0, 0, planes, depth, len(body), at)
        bodies += body
        at += len(body)
    return table + bodies
