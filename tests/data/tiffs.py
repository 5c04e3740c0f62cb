"""TIFF files with any layout of samples, written by code (TIFF 6.0; BigTIFF)."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 48
HEIGHT: Final = 32
TILE: Final = 16

COLOURS: Final = ((220, 40, 40), (40, 200, 60), (50, 60, 210), (240, 240, 240))
"""The colours of the image's quarters: top left, top right, bottom left, bottom right."""

GREY, RGB, PALETTE, YCBCR = 1, 2, 3, 6
WHITE_IS_ZERO: Final = 0
CMYK: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a TIFF stores its samples.

    The fields have the names of TIFF 6.0, section 8.
    """

    photometric: int = RGB
    bits: int = 8
    samples: int = 3
    planar: bool = False
    tiled: bool = False
    order: str = "<"
    big: bool = False
    subsampling: tuple[int, int] | None = None
    extra: int | None = None
    rows_per_strip: int = HEIGHT
    deflated: bool = False


def colour_at(x: int, y: int) -> tuple[int, int, int]:
    return COLOURS[(y >= HEIGHT // 2) * 2 + (x >= WIDTH // 2)]


def _luma(colour: Sequence[int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _ycbcr(colour: Sequence[int]) -> tuple[int, int, int]:
    y = _luma(colour)
    return round(y), round((colour[2] - y) / 1.772 + 128), round((colour[0] - y) / 1.402 + 128)


def _values(layout: Layout, x: int, y: int) -> list[int]:
    """Return the samples of a pixel: values from 0 to 255.

    In a palette layout, the first sample is the index of the colour in the palette.
    """
    colour = colour_at(x, y)
    match layout.photometric:
        case 0:
            values = [255 - round(_luma(colour))]
        case 1:
            values = [round(_luma(colour))]
        case 3:
            values = [COLOURS.index(colour) % (1 << layout.bits)]
        case 5:
            values = [255 - each for each in colour] + [0]
        case 6:
            values = list(_ycbcr(colour))
        case _:
            values = list(colour)
    return values + [255] * (layout.samples - len(values))


def _pack(values: Sequence[int], layout: Layout) -> bytes:
    if layout.bits == 8:
        return bytes(values)
    if layout.bits in (16, 32):
        form, factor = ("H", 257) if layout.bits == 16 else ("I", 0x01010101)
        factor = 1 if layout.photometric == PALETTE else factor
        return struct.pack(f"{layout.order}{len(values)}{form}", *(v * factor for v in values))
    shift = 0 if layout.photometric == PALETTE else 8 - layout.bits
    text = "".join(f"{value >> shift:0{layout.bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _area(layout: Layout, left: int, top: int, width: int, height: int) -> list[bytes]:
    """Return the packed rows of an area of the image: one item for each plane of a planar layout.

    Other layouts have one item, which contains all samples.
    """
    if layout.subsampling:
        return [_subsampled(layout, left, top, width, height)]
    planes = range(layout.samples) if layout.planar else [None]
    pieces = []
    for plane in planes:
        body = b""
        for y in range(top, top + height):
            row: list[int] = []
            for x in range(left, left + width):
                values = _values(layout, min(x, WIDTH - 1), min(y, HEIGHT - 1))
                row += values if plane is None else [values[plane]]
            body += _pack(row, layout)
        pieces.append(body)
    return pieces


def _subsampled(layout: Layout, left: int, top: int, width: int, height: int) -> bytes:
    """Return the data units of an area of the image, in the order of TIFF 6.0, section 21.

    A data unit has the luma samples of a block, then one Cb and one Cr for the block.
    """
    assert layout.subsampling is not None
    across, down = layout.subsampling
    body = b""
    for y in range(top, top + height, down):
        for x in range(left, left + width, across):
            block = [(x + i, y + j) for j in range(down) for i in range(across)]
            pixels = [_values(layout, min(a, WIDTH - 1), min(b, HEIGHT - 1)) for a, b in block]
            body += bytes([p[0] for p in pixels] + pixels[0][1:3])
    return body


def tiff_of(layout: Layout) -> bytes:
    """Return a TIFF whose quarters have different colours."""
    width, height = (TILE, TILE) if layout.tiled else (WIDTH, layout.rows_per_strip)
    areas = [
        _area(layout, left, top, width, min(height, HEIGHT - top) if not layout.tiled else height)
        for top in range(0, HEIGHT, height)
        for left in range(0, WIDTH, width)
    ]
    pieces = [piece for plane in range(len(areas[0])) for piece in [a[plane] for a in areas]]
    if layout.deflated:
        pieces = [zlib.compress(piece) for piece in pieces]
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [WIDTH]),
        257: (4, [HEIGHT]),
        258: (3, [layout.bits] * layout.samples),
        259: (3, [8 if layout.deflated else 1]),
        262: (3, [layout.photometric]),
        277: (3, [layout.samples]),
        284: (3, [2 if layout.planar else 1]),
    }
    if layout.extra is not None:
        tags[338] = (3, [layout.extra])
    if layout.subsampling:
        tags[530] = (3, layout.subsampling)
    if layout.photometric == PALETTE:
        size = 1 << layout.bits
        shown = COLOURS[:size]
        maps = [[c[band] * 257 for c in shown] + [0] * (size - 4) for band in range(3)]
        tags[320] = (3, [value for band in maps for value in band])
    start, count = 16, len(pieces)
    offsets = []
    for piece in pieces:
        offsets.append(start)
        start += len(piece) + len(piece) % 2
    lengths = [len(piece) for piece in pieces]
    if layout.tiled:
        tags |= {322: (4, [TILE]), 323: (4, [TILE]), 324: (4, offsets), 325: (4, lengths)}
    else:
        tags |= {273: (4, offsets), 278: (4, [height]), 279: (4, lengths)}
    assert count == len(offsets)
    body = b"".join(piece + bytes(len(piece) % 2) for piece in pieces)
    return _header(layout, start) + body + _directory(layout, tags, start)


def _header(layout: Layout, at: int) -> bytes:
    mark = b"II" if layout.order == "<" else b"MM"
    if layout.big:
        return mark + struct.pack(f"{layout.order}HHHQ", 43, 8, 0, at)
    return mark + struct.pack(f"{layout.order}HI", 42, at) + bytes(8)


def _directory(layout: Layout, tags: dict[int, tuple[int, Sequence[int]]], at: int) -> bytes:
    order = layout.order
    inline, form = (8, "Q") if layout.big else (4, "I")
    width = 20 if layout.big else 12
    beyond_at = at + (8 if layout.big else 2) + width * len(tags) + inline
    entries, beyond = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        entries += struct.pack(f"{order}HH{form}", tag, kind, len(values))
        if len(raw) <= inline:
            entries += raw.ljust(inline, b"\0")
        else:
            entries += struct.pack(f"{order}{form}", beyond_at + len(beyond))
            beyond += raw + bytes(len(raw) % 2)
    count = struct.pack(f"{order}{'Q' if layout.big else 'H'}", len(tags))
    return count + entries + bytes(inline) + beyond
