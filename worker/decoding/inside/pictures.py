"""Make thumbnails of a decoded image: shrink it, convert it to sRGB, turn it upright, encode it."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from shared.facts import Picture
from worker.decoding.inside import colours
from worker.decoding.inside.colour_spaces import ColourSpace
from worker.decoding.inside.encoding import FORMATS, Format, encode
from worker.decoding.inside.orientation import upright
from worker.decoding.inside.shrinking import Rectangle, Size, fitting, shrink_to
from worker.decoding.inside.thumbhash import thumbhash


class Look(NamedTuple):
    """The properties of an image that its thumbnails depend on. `orientation` is as in Exif."""

    colour: bytes | ColourSpace | None
    orientation: int
    format: str
    is_lossless: bool


def make_pictures(
    pixels: Image.Image, full: Size, area: Rectangle, look: Look, edges: Sequence[int]
) -> tuple[tuple[Picture, ...], str]:
    """Make one thumbnail for each of `edges`; return them and the ThumbHash of the first.

    `pixels` may be smaller than the image, whose size is `full`, if the decoder has shrunk it. The
    image is in the part `area` of the pixels.
    """
    sizes = [fitting(*full, edge) for edge in edges]
    shrunk = shrink_to(pixels, sizes, area)
    ready = {
        size: _without_idle_alpha(upright(colours.to_srgb(small, look.colour), look.orientation))
        for size, small in shrunk.items()
    }
    made = {
        size: _encoded(small, look.format, lossless=look.is_lossless and size == full)
        for size, small in ready.items()
    }
    return tuple(made[size] for size in sizes), thumbhash(ready[sizes[0]])


def _encoded(small: Image.Image, original: str, *, lossless: bool) -> Picture:
    kind = _kind(original, transparent=small.mode in ("LA", "RGBA"), lossless=lossless)
    return Picture(
        body=encode(small, kind, lossless=lossless),
        content_type=f"image/{kind.lower()}",
        extension=None if kind == original else {"JPEG": "jpg", "PNG": "png"}[kind],
        width=small.width,
        height=small.height,
    )


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    """Drop an alpha channel that is opaque everywhere, as in photos and screenshots."""
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema()[0] == 255:
        return image.convert(image.mode[:-1])
    return image


def _kind(original: str, *, transparent: bool, lossless: bool) -> Format:
    """Choose the thumbnail's format: the format of the original, if thumbnails can have it."""
    for each in FORMATS:
        if each == original:
            return each
    return "PNG" if transparent or lossless or original == "GIF" else "JPEG"
