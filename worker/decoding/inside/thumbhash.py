"""A thumbnail in some 25 bytes: what a page draws until it has loaded the thumbnail.

The format is ThumbHash (https://evanw.github.io/thumbhash/): the average colour, and a cosine
transform of the luminance, of two differences of colours and of the opacity.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Final, NamedTuple

from PIL import Image

EDGE: Final = 16
"""The longest edge of the picture that is transformed, in pixels. The format keeps at most seven
waves along an edge, so more pixels would change little and take longer."""


_CHANNELS: Final = (
    (1 / 3, 1 / 3, 1 / 3, 0),
    (0.25, 0.25, -0.5, 127.5),
    (0.5, -0.5, 0, 127.5),
)
"""The luminance, yellow against blue, and red against green, as Pillow computes them from RGB. The
differences are halved and moved, because a byte has no sign."""


class _Channel(NamedTuple):
    """The transform of a channel: its mean, its largest wave, and its waves from 0 to 1."""

    mean: float
    scale: float
    waves: Sequence[float]


def thumbhash(image: Image.Image) -> str:
    """Return the ThumbHash of an image in Base64: 8 to 36 characters."""
    opacity = None
    if "A" in image.getbands():
        small = _shrunk(image.convert("RGBA"))
        opacity = small.getchannel("A")
        small = Image.alpha_composite(_average(small), small).convert("RGB")
    else:
        small = _shrunk(image.convert("RGB"))
    has_alpha = opacity is not None and opacity.getextrema()[0] != 255
    width, height = small.size
    most = 5 if has_alpha else 7
    across = max(1, _round(most * width / max(width, height)))
    down = max(1, _round(most * height / max(width, height)))
    light, yellow, red = small.convert("RGB", sum(_CHANNELS, ())).split()
    channels = [
        _transform(light, max(3, across), max(3, down), zero=0, one=255),
        _transform(yellow, 3, 3, zero=127.5, one=127.5),
        _transform(red, 3, 3, zero=127.5, one=127.5),
    ]
    if has_alpha and opacity is not None:
        channels.append(_transform(opacity, 5, 5, zero=0, one=255))
    is_wide = width > height
    return _written(channels, shorter=down if is_wide else across, is_wide=is_wide)


def _shrunk(image: Image.Image) -> Image.Image:
    scale = min(1.0, EDGE / max(image.size))
    width, height = (max(1, _round(edge * scale)) for edge in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _average(image: Image.Image) -> Image.Image:
    """Return an opaque image of the average colour; transparent pixels do not count."""
    *colours, alpha = image.convert("RGBa").resize((1, 1), Image.Resampling.BOX).tobytes()
    average = [min(255, _round(255 * colour / alpha)) if alpha else 0 for colour in colours]
    return Image.new("RGBA", image.size, (*average, 255))


def _written(channels: Sequence[_Channel], *, shorter: int, is_wide: bool) -> str:
    light, yellow, redness, *rest = channels
    first = (
        _round(63 * light.mean)
        | _round(31.5 + 31.5 * yellow.mean) << 6
        | _round(31.5 + 31.5 * redness.mean) << 12
        | _round(31 * light.scale) << 18
        | bool(rest) << 23
    )
    second = (
        shorter | _round(63 * yellow.scale) << 3 | _round(63 * redness.scale) << 9 | is_wide << 15
    )
    written = bytearray(first.to_bytes(3, "little") + second.to_bytes(2, "little"))
    written += bytes(_round(15 * each.mean) | _round(15 * each.scale) << 4 for each in rest)
    halves = [_round(15 * wave) for channel in channels for wave in channel.waves]
    halves += [0] * (len(halves) % 2)
    written += bytes(low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True))
    return b64encode(written).decode()


def _transform(
    channel: Image.Image, across: int, down: int, *, zero: float, one: float
) -> _Channel:
    """Transform a channel: first its rows, then the columns of the result.

    A pixel with the value `zero` counts as 0, a pixel with the value `zero + one` as 1.
    """
    width, height = channel.size
    # In a narrow picture, the mean of a wave need not be 0. So `zero` is subtracted first.
    pixels = [value - zero for value in channel.tobytes()]
    rows = [pixels[start : start + width] for start in range(0, width * height, width)]
    bent = [[sum(map(mul, row, wave)) for row in rows] for wave in _waves(width, across)]
    waves_down = _waves(height, down)
    strengths = [
        sum(map(mul, bent[x], waves_down[y])) / (width * height * one)
        for x, y in _kept(across, down)
    ]
    mean, found = strengths[0], strengths[1:]
    scale = min(1.0, max(map(abs, found)))
    waves = [0.5 + 0.5 * each / scale for each in found] if scale > 1e-9 else [0.0] * len(found)
    return _Channel(mean, scale, waves)


@lru_cache(maxsize=256)  # at most EDGE lengths × 7 numbers of waves
def _waves(length: int, number: int) -> list[list[float]]:
    return [
        [math.cos(math.pi / length * wave * (place + 0.5)) for place in range(length)]
        for wave in range(number)
    ]


@lru_cache(maxsize=64)
def _kept(across: int, down: int) -> list[tuple[int, int]]:
    """Return the waves that the format keeps: those of low frequency, row by row."""
    return [(x, y) for y in range(down) for x in range(across) if x * down < across * (down - y)]


def _round(value: float) -> int:
    """Round a half up, as the format's reference does."""
    return math.floor(value + 0.5)
