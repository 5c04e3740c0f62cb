"""Calculate the sizes of thumbnails, and shrink an image to them."""

from collections.abc import Iterable
from typing import Final

from PIL import Image

SHRINK_GAP: Final = 1.5
"""A JPEG decoder can shrink an image while it decodes. The result must have at least this many
times the thumbnail's size, because Lanczos then shrinks it to the thumbnail's size. The thumbnail
is almost the same as if Lanczos shrank the whole image: the PSNR is at least 37 dB, and the loss by
JPEG is larger. With 2, Pillow's default, 13 megapixels take a fifth more CPU time."""

HALVED_FROM: Final = 2.5
"""If an image has at least this many times the thumbnail's height, every two rows are averaged into
one before Lanczos. This saves an eighth of the CPU time for a JPEG of 2 megapixels. The PSNR of its
thumbnail is then 49 dB instead of 50 dB."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


Size = tuple[int, int]
"""Width and height, in pixels."""


def drafted(width: int, height: int, edge: int) -> Size:
    """Return the smallest size to which the decoder may shrink a JPEG. `edge` is the largest."""
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

    A size is made of the next larger one if that has SHRINK_GAP times its height, so that the
    pixels of the whole image are read once.
    """
    made: dict[Size, Image.Image] = {}
    for size in sorted(set(sizes), reverse=True):
        source, part = image, area
        for larger in made.values():
            if larger.height >= size[1] * SHRINK_GAP and larger.width >= size[0] * SHRINK_GAP:
                source, part = larger, (0, 0, *larger.size)
        made[size] = shrink(source, size, part)
    return made


def shrink(image: Image.Image, size: Size, area: Rectangle) -> Image.Image:
    """Shrink the part `area` of an image to `size` with Lanczos.

    Pillow weights colours by alpha, so transparent pixels do not tint their neighbours.
    """
    if size == image.size:
        return image
    left, top, right, bottom = area
    if HALVED_FROM <= (bottom - top) / size[1] < 2 * SHRINK_GAP:
        image = image.reduce((1, 2))
        top, bottom = top / 2, bottom / 2
    return image.resize(
        size, Image.Resampling.LANCZOS, (left, top, right, bottom), reducing_gap=SHRINK_GAP
    )
