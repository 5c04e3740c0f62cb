"""How large a thumbnail is, and how an image is shrunk to that size."""

from typing import Final

from PIL import Image

MAX_EDGE: Final = 320

SHRINK_GAP: Final = 1.5
"""A decoder that shrinks while decoding leaves at least this many times the thumbnail's size to
Lanczos. The result has 37 dB or more against shrinking from every pixel: nobody sees the
difference, and JPEG's own loss hides it. Pillow's usual 2 costs a fifth more for 13 megapixels."""

HALVED_FROM: Final = 2.5
"""From this many times the thumbnail's height, pairs of rows are averaged before Lanczos. A JPEG of
2 megapixels then costs an eighth less CPU, and has 49 dB instead of 50."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


def drafted(width: int, height: int) -> tuple[int, int]:
    """Tell the size that a JPEG must have at the least when it is shrunk while decoding."""
    fits = fitting(width, height)
    return int(fits[0] * SHRINK_GAP), int(fits[1] * SHRINK_GAP)


def fitting(width: int, height: int) -> tuple[int, int]:
    """Tell the size of the thumbnail of an image: never enlarged, never without a pixel."""
    scale = min(1.0, MAX_EDGE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(image: Image.Image, size: tuple[int, int], box: Rectangle) -> Image.Image:
    """Shrink by Lanczos; what is transparent lends no colour to what is not (Pillow sees to it)."""
    if size == image.size:
        return image
    left, top, right, bottom = box
    if HALVED_FROM <= (bottom - top) / size[1] < 2 * SHRINK_GAP:
        image = image.reduce((1, 2))
        top, bottom = top / 2, bottom / 2
    return image.resize(
        size, Image.Resampling.LANCZOS, (left, top, right, bottom), reducing_gap=SHRINK_GAP
    )
