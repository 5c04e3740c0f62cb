"""Calculate the sizes of thumbnails, and shrink an image to them."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from PIL import Image

from worker.decoding.inside import vips
from worker.decoding.inside.vips import SHRINK_GAP

WEIGHTED: Final = {"LA": "La", "RGBA": "RGBa"}
"""Pillow's modes with alpha, and the modes in which alpha weights the colours."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


Size = tuple[int, int]
"""Width and height, in pixels."""


def drafted(width: int, height: int, edge: int) -> Size:
    """Return the smallest size to which the decoder may shrink a JPEG for the largest `edge`."""
    fits = fitting(width, height, edge)
    return int(fits[0] * SHRINK_GAP), int(fits[1] * SHRINK_GAP)


def fitting(width: int, height: int, edge: int) -> Size:
    """Return the size of an image's thumbnail, which has at most `edge` × `edge` pixels.

    The image is never enlarged. The size is at least 1 × 1.
    """
    scale = min(1.0, edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink_to(
    image: Image.Image, sizes: Iterable[Size], area: Rectangle
) -> dict[Size, Image.Image]:
    """Shrink the part `area` of an image to several sizes, the largest first.

    A size is made from the smallest result that has at least SHRINK_GAP times its width and height;
    without such a result, it is made from the image. This avoids reading all pixels again.
    """
    made: dict[Size, Image.Image] = {}
    for size in sorted(set(sizes), reverse=True):
        source, part = image, area
        for larger in made.values():
            if larger.height >= size[1] * SHRINK_GAP and larger.width >= size[0] * SHRINK_GAP:
                source, part = larger, (0, 0, *larger.size)
        made[size] = shrink(source, size, part)
    return made


def reduction(original: Size, size: Size) -> Size:
    """Return how many columns and how many rows are averaged into one before Lanczos."""
    return (
        max(1, int(original[0] / size[0] / SHRINK_GAP)),
        max(1, int(original[1] / size[1] / SHRINK_GAP)),
    )


def shrink(image: Image.Image, size: Size, area: Rectangle) -> Image.Image:
    """Shrink the part `area` of an image to `size` with Lanczos.

    `area` begins at the top left corner. Colours are weighted by alpha, so transparent pixels do
    not tint their neighbours.
    """
    if size == image.size:
        return image
    mode = image.mode
    if mode in WEIGHTED:
        return shrink(image.convert(WEIGHTED[mode]), size, area).convert(mode)
    if area == (0, 0, *image.size) and vips.can_shrink(image):
        across, down = reduction(image.size, size)
        # Pillow averages whole blocks faster than libvips. A block that is cut off at the edge
        # would move the image by a part of a pixel.
        if image.width % across == 0 and image.height % down == 0:
            reduced = image.reduce((across, down)) if (across, down) != (1, 1) else image
            with suppress(vips.VipsError):  # libvips rounds a few sizes differently
                return vips.lanczos(reduced, size)
    return image.resize(size, Image.Resampling.LANCZOS, area, reducing_gap=SHRINK_GAP)
