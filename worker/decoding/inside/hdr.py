"""Map images of high dynamic range (PQ and HLG, ITU-R BT.2100) to sRGB.

A curve maps the light of a pixel's brightest component to new light. All components of the pixel
are scaled by the same factor, so that hues do not change. Light up to that of white paper (203
cd/m², ITU-R BT.2408) is halved. Brighter light, up to 1000 cd/m², is mapped to the upper half of
the range. The results differ from Chromium's by a few levels at most. Python calculates the pixels
one by one, which is fast enough for thumbnails: 0.2 s for 320×320.
"""

import math
from typing import Final

from PIL import Image

from worker.decoding.inside.colour_spaces import (
    PQ,
    PRIMARIES,
    ColourSpace,
    inverted,
    linear_to_srgb,
    multiplied,
    to_xyz,
)

PAPER_WHITE: Final = 203.0
"""Luminance of diffuse white, in cd/m² (ITU-R BT.2408, table 1)."""

BRIGHTEST: Final = 1000.0
"""Luminance that becomes white, in cd/m²: the peak of screens for which HLG is defined."""

_HEADROOM: Final = math.log2(BRIGHTEST / PAPER_WHITE)
_BEND: Final = 0.25
"""How strongly the upper half of the curve is bent. If it were straight, the change of slope
between the two halves would be visible."""

_OUTPUTS: Final = 4095
_ENCODED: Final = bytes(round(255 * linear_to_srgb(step / _OUTPUTS)) for step in range(4096))


def to_srgb(image: Image.Image, space: ColourSpace) -> Image.Image:
    """Convert an image of high range from L, LA, RGB or RGBA to RGB or RGBA in sRGB.

    Alpha does not change.
    """
    pixels = image.convert("RGB").tobytes()
    matrix = multiplied(inverted(to_xyz(PRIMARIES[1])), to_xyz(space.primaries))
    (rr, rg, rb), (gr, gg, gb), (br, bg, bb) = matrix
    _, (yr, yg, yb), _ = to_xyz(space.primaries)
    is_pq = space.transfer == PQ
    curve = [_pq(code / 255) if is_pq else _hlg(code / 255) for code in range(256)]
    out = bytearray(len(pixels))
    known: dict[bytes, bytes] = {}
    for at in range(0, len(pixels), 3):
        pixel = pixels[at : at + 3]
        made = known.get(pixel)
        if made is None:
            red, green, blue = (curve[code] for code in pixel)
            brightest = max(red, green, blue)
            if brightest <= 0:
                scale = 0.0
            elif is_pq:
                scale = _mapped(brightest) / brightest
            else:  # HLG needs another factor, which depends on the luminance (BT.2100, table 5)
                gain = _HLG_PEAK * (yr * red + yg * green + yb * blue) ** 0.2
                scale = _mapped(brightest * gain) / brightest
            made = known[pixel] = bytes(
                _ENCODED[min(max(int(_OUTPUTS * scale * light + 0.5), 0), _OUTPUTS)]
                for light in (
                    rr * red + rg * green + rb * blue,
                    gr * red + gg * green + gb * blue,
                    br * red + bg * green + bb * blue,
                )
            )
        out[at : at + 3] = made
    mapped = Image.frombytes("RGB", image.size, bytes(out))
    if "A" in image.mode:
        mapped.putalpha(image.getchannel("A"))
    return mapped


_HLG_PEAK: Final = BRIGHTEST / PAPER_WHITE


def _pq(value: float) -> float:
    """Convert an encoded PQ value to light, relative to paper white (BT.2100, table 4)."""
    power = value ** (1 / 78.84375)
    base = max(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)
    return float(10_000.0 / PAPER_WHITE * base ** (1 / 0.1593017578125))


def _hlg(value: float) -> float:
    """Convert an encoded HLG value to light of the scene, 0 to 1 (BT.2100, table 5)."""
    if value <= 0.5:
        return value * value / 3
    return (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _mapped(light: float) -> float:
    """Convert light, relative to paper white, to the light of the thumbnail, 0 to 1."""
    if light <= 1:
        return light / 2
    above = min(math.log2(light) / _HEADROOM, 1.0)
    return 0.5 + 0.5 * (above + _BEND * above * (1 - above))
