"""TrueType fonts with a few letters, written by code. Each letter is a black square."""

import struct

_EM = 1000
_SQUARE = ((100, 0), (100, 700), (900, 700), (900, 0))


def _glyph() -> bytes:
    """Return the outline of a square (OpenType 1.9, "glyf")."""
    xs, ys = zip(*_SQUARE, strict=True)
    outline = struct.pack(">hhhhh", 1, min(xs), min(ys), max(xs), max(ys))
    outline += struct.pack(">HH", len(_SQUARE) - 1, 0) + b"\1" * len(_SQUARE)
    for values in (xs, ys):
        steps = [b - a for a, b in zip((0, *values), values, strict=False)]
        outline += struct.pack(f">{len(steps)}h", *steps)
    return outline + bytes(-len(outline) % 4)


def _characters(letters: str) -> bytes:
    """Return a table `cmap` of format 4, in which each letter has glyph 1."""
    codes = [*sorted({ord(letter) for letter in letters}), 0xFFFF]
    deltas = [(1 - code) % 65536 for code in codes[:-1]] + [1]
    count = len(codes)
    body = struct.pack(">HHHH", 2 * count, 0, 0, 0)
    body += struct.pack(f">{count}H", *codes) + bytes(2)
    body += struct.pack(f">{count}H{count}H{count}H", *codes, *deltas, *[0] * count)
    table = struct.pack(">HHH", 4, 6 + len(body), 0) + body
    return struct.pack(">HHHHI", 0, 1, 3, 1, 12) + table


def squares(letters: str) -> bytes:
    """Write a font that has only these letters; each is a square of 0.8 × 0.7 of the font size.

    Letters must be in the Basic Multilingual Plane.
    """
    glyph = _glyph()
    tables = {
        b"cmap": _characters(letters),
        b"glyf": glyph,
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh",
            0x10000,
            0x10000,
            0,
            0x5F0F3CF5,
            0,
            _EM,
            0,
            0,
            0,
            0,
            _EM,
            _EM,
            0,
            8,
            2,
            0,
            0,
        ),
        b"hhea": struct.pack(">IhhhHhhhhhh8xhH", 0x10000, 800, -200, 0, _EM, *[0] * 6, 0, 2),
        b"hmtx": struct.pack(">HhHh", _EM, 0, _EM, 100),
        b"loca": struct.pack(">HHH", 0, 0, len(glyph) // 2),  # glyph 0 is empty
        b"maxp": struct.pack(">IH26x", 0x10000, 2),
        b"name": struct.pack(">HHH", 0, 0, 6),
        b"post": struct.pack(">I28x", 0x30000),
    }
    at = 12 + 16 * len(tables)
    directory, bodies = struct.pack(">IHHHH", 0x10000, len(tables), 0, 0, 0), b""
    for name, body in tables.items():
        directory += struct.pack(">4sIII", name, 0, at + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    return directory + bodies
