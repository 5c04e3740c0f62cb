"""ICC profiles of wide colour spaces and of grey, written by code."""

import struct
from collections.abc import Mapping
from typing import Final

RGB_SPACES: Final[Mapping[str, tuple[tuple[float, ...], float]]] = {
    "display-p3": (
        (0.51512, 0.29198, 0.15710, 0.24120, 0.69225, 0.06657, -0.00105, 0.04189, 0.78407),
        2.2,
    ),
    "adobe-rgb": (
        (0.60974, 0.20528, 0.14919, 0.31111, 0.62567, 0.06322, 0.01947, 0.06087, 0.74457),
        2.19921875,
    ),
    "prophoto": ((0.79767, 0.13519, 0.03134, 0.28804, 0.71188, 0.00009, 0.0, 0.0, 0.82491), 1.8),
}
"""Wide colour spaces, each with its published matrix and gamma.

The matrix, given row by row, converts linear red, green and blue to XYZ at D50. Display P3 has the
curve of sRGB; its gamma here is an approximation.
"""


def _icc(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """Write an ICC profile of a display, version 2.4 (ICC.1:2001-04, section 6)."""
    at = 128 + 4 + 12 * len(tags)
    table, data = [struct.pack("!I", len(tags))], b""
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        table.append(name + struct.pack("!II", at + len(data), len(body)))
        data += body
    d50 = struct.pack("!III", 0xF6D6, 0x10000, 0xD32D)
    header = (
        struct.pack("!I", at + len(data))
        + bytes(4)
        + b"\x02\x40\0\0"
        + b"mntr"
        + space
        + b"XYZ "
        + bytes(12)
        + b"acsp"
        + bytes(28)
        + d50
    )
    return header.ljust(128, b"\0") + b"".join(table) + data


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack("!IH", 1, round(gamma * 256))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack("!i", round(v * 65536)) for v in values)


def rgb_profile(name: str, *, padding: int = 0, points: bytes = b"") -> bytes:
    """Write the profile of one of RGB_SPACES.

    `padding` adds bytes without a meaning. `points` are the code points of the tag `cicp`. If
    `points` is empty, the profile has no such tag.
    """
    matrix, gamma = RGB_SPACES[name]
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    for place, colour in enumerate((b"r", b"g", b"b")):
        tags[colour + b"XYZ"] = _xyz(*matrix[place::3])
        tags[colour + b"TRC"] = _gamma(gamma)
    if points:
        tags[b"cicp"] = b"cicp" + bytes(4) + points
    if padding:
        tags[b"junk"] = b"data" + bytes(padding)
    return _icc(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """Write the profile of grey with this gamma."""
    return _icc(b"GRAY", {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"kTRC": _gamma(gamma)})
