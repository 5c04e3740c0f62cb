"""Describe a colour space by its primaries and its transfer function, as cICP, nclx and gAMA do.

The numbers are code points of ITU-T H.273 (tables 2 and 3). A space of standard range becomes an
ICC profile, which lcms applies. A space of high range (PQ, HLG) is mapped to the range of a screen
(`worker.decoding.inside.hdr`).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

Chromaticities = tuple[float, ...]
"""x and y of white, red, green and blue (CIE 1931), in the order of PNG."""

D65: Final = (0.3127, 0.3290)
_BT709: Final = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BT601: Final = (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
_DCI: Final = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)

PRIMARIES: Final[dict[int, Chromaticities]] = {
    1: _BT709,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _BT601,
    7: _BT601,
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, *_DCI),
    12: (*D65, *_DCI),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}

PQ: Final = 16
HLG: Final = 18
SRGB: Final = 13
_GAMMAS: Final = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_VIDEO: Final = frozenset({1, 6, 14, 15})
"""Transfer functions of video cameras (BT.709, BT.601, BT.2020)."""

VIDEO_GAMMA: Final = 2.4
"""The exponent with which a screen decodes video (ITU-R BT.1886)."""

STEPS: Final = 1024
"""Number of entries of a curve in an ICC profile."""

MAX_TAGS: Final = 100
"""Maximum number of tags of an ICC profile that are read. Most profiles have fewer than 20."""

SCREEN_GAMMA: Final = 2.2
LIKE_A_SCREEN: Final = 0.05
"""A PNG's gamma means sRGB if its product with `SCREEN_GAMMA` differs from 1 by less than this
number (PNG specification, 13.13)."""

Matrix = tuple[tuple[float, ...], ...]


def _bt240(value: float) -> float:
    return value / 4.0 if value < 0.0912 else ((value + 0.1115) / 1.1115) ** (1 / 0.45)


def srgb_to_linear(value: float) -> float:
    """Convert an encoded sRGB value to linear light, both from 0 to 1 (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear_to_srgb(light: float) -> float:
    """Convert linear light to an encoded sRGB value, both from 0 to 1 (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


_CURVES: Final[dict[int, Callable[[float], float]]] = {
    7: _bt240,
    SRGB: srgb_to_linear,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourSpace:
    """A colour space: its primaries and its transfer function.

    If `gamma` is None, the transfer function is that of the code point `transfer`. Otherwise, light
    is the encoded value to the power of `gamma`.
    """

    primaries: Chromaticities
    transfer: int = SRGB
    gamma: float | None = None

    @property
    def is_high_range(self) -> bool:
        """True for PQ and HLG, whose white is brighter than a screen's (ITU-R BT.2100)."""
        return self.gamma is None and self.transfer in (PQ, HLG)

    @property
    def is_srgb(self) -> bool:
        """True if the pixels need no conversion."""
        return self.primaries == _BT709 and self.gamma is None and self.transfer == SRGB


def by_code_points(
    primaries: int, transfer: int, *, video_gamma: float | None = VIDEO_GAMMA
) -> ColourSpace | None:
    """Return the colour space of two H.273 code points; None if one is unspecified or unknown.

    If `transfer` is a function of video cameras, it is replaced by the gamma `video_gamma`. If
    `video_gamma` is None, it is replaced by the function of sRGB.
    """
    known = PRIMARIES.get(primaries)
    if known is None:
        return None
    if transfer in _VIDEO:
        return ColourSpace(primaries=known, gamma=video_gamma)
    if transfer in _GAMMAS:
        return ColourSpace(primaries=known, gamma=_GAMMAS[transfer])
    if transfer in _CURVES or transfer in (PQ, HLG):
        return ColourSpace(primaries=known, transfer=transfer)
    return None


def by_profile(profile: bytes) -> ColourSpace | None:
    """Return the colour space of an ICC profile of high range; None for all other profiles.

    Such a profile has a tag `cicp` with code points (ICC.1:2022, section 9.2.17). Browsers use them
    instead of its tables.
    """
    (count,) = struct.unpack_from(">I", profile, 128) if len(profile) >= 132 else (0,)
    for entry in range(132, min(132 + 12 * min(count, MAX_TAGS), len(profile) - 11), 12):
        if profile.startswith(b"cicp", entry):
            (start,) = struct.unpack_from(">I", profile, entry + 4)
            points = profile[start + 8 : start + 10]
            space = by_code_points(*points) if len(points) == 2 else None
            return space if space is not None and space.is_high_range else None
    return None


def by_gamma(gamma: float, primaries: Chromaticities | None) -> ColourSpace | None:
    """Return the colour space of a PNG's gAMA and cHRM.

    `gamma` is the exponent from light to encoded values. Returns None if the values mean sRGB, or
    if they are impossible.
    """
    if not 0.01 <= gamma <= 10:
        return None
    if primaries is not None and not _is_possible(primaries):
        primaries = None
    if primaries is None and abs(gamma * SCREEN_GAMMA - 1) < LIKE_A_SCREEN:
        return None
    return ColourSpace(primaries=primaries or _BT709, gamma=1 / gamma)


def _is_possible(primaries: Chromaticities) -> bool:
    if len(primaries) != 8 or not all(0 < y <= 1 for y in primaries[1::2]):
        return False
    try:
        to_xyz(primaries)
    except ZeroDivisionError:  # the primaries are on one line
        return False
    return True


def _times(matrix: Matrix, vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def multiplied(one: Matrix, other: Matrix) -> Matrix:
    """Return the product of two 3×3 matrices."""
    columns = list(zip(*other, strict=True))
    return tuple(
        tuple(sum(a * b for a, b in zip(row, column, strict=True)) for column in columns)
        for row in one
    )


def inverted(matrix: Matrix) -> Matrix:
    """Return the inverse of a 3×3 matrix. Raises ZeroDivisionError if the matrix is singular."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) < 1e-9:
        raise ZeroDivisionError("the matrix has no inverse")
    rows = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return tuple(tuple(value / determinant for value in row) for row in rows)


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y


def to_xyz(primaries: Chromaticities) -> Matrix:
    """Return the matrix from linear RGB to XYZ with the space's own white (SMPTE RP 177)."""
    white, *corners = [_xyz(*primaries[at : at + 2]) for at in (0, 2, 4, 6)]
    columns: Matrix = tuple(zip(*corners, strict=True))
    scales = _times(inverted(columns), white)
    return tuple(tuple(a * s for a, s in zip(row, scales, strict=True)) for row in columns)


_BRADFORD: Final = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)
_D50: Final = (0.9642, 1.0, 0.8249)


def _to_d50(primaries: Chromaticities) -> Matrix:
    """Return the matrix from linear RGB to XYZ at D50, adapted by Bradford (ICC.1, annex E)."""
    source = _times(_BRADFORD, _xyz(*primaries[:2]))
    target = _times(_BRADFORD, _D50)
    scales = tuple(b / a for a, b in zip(source, target, strict=True))
    scaled = tuple(
        tuple(value * scale for value in row) for row, scale in zip(_BRADFORD, scales, strict=True)
    )
    return multiplied(multiplied(inverted(_BRADFORD), scaled), to_xyz(primaries))


@lru_cache(maxsize=16)
def icc_profile(space: ColourSpace, *, grey: bool = False) -> bytes:
    """Return a space of standard range as an ICC profile.

    With `grey`, it is a profile for grey images with the same curve, else for RGB. Source:
    ICC.1:2010 (version 4.3), sections 7.2 (header), 8.3.3 (three components) and 10.5.
    """
    curve = _curve(space)
    if grey:
        tags = {b"kTRC": curve}
    else:
        columns = list(zip(*_to_d50(space.primaries), strict=True))
        tags = {
            name + suffix: body
            for name, column in zip((b"r", b"g", b"b"), columns, strict=True)
            for suffix, body in ((b"XYZ", _xyz_tag(column)), (b"TRC", curve))
        }
    tags |= {b"wtpt": _xyz_tag(_D50), b"desc": _text("space"), b"cprt": _text("none")}
    at = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += struct.pack(">4sII", name, at + len(bodies), len(body))
        bodies += body.ljust(-(-len(body) // 4) * 4, b"\0")
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i",
        at + len(bodies),
        0x04300000,
        b"mntr",
        b"GRAY" if grey else b"RGB ",
        b"XYZ ",
        b"acsp",
        *_fixed(_D50),
    )
    return header.ljust(128, b"\0") + table + bodies


def _curve(space: ColourSpace) -> bytes:
    if space.gamma is not None:
        return b"para" + struct.pack(">4xHxxi", 0, round(space.gamma * 65536))
    to_light = _CURVES[space.transfer]
    values = [round(65535 * to_light(step / (STEPS - 1))) for step in range(STEPS)]
    return b"curv" + struct.pack(f">4xI{STEPS}H", STEPS, *values)


def _fixed(values: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(round(value * 65536) for value in values)


def _xyz_tag(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *_fixed(values))


def _text(words: str) -> bytes:
    text = words.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
