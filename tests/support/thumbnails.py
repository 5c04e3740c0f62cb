"""Functions that make thumbnails in this process and compare their pixels."""

import io
from contextlib import AbstractContextManager

import pytest
from PIL import Image, ImageChops, ImageStat

from shared.errors import Undecodable
from shared.facts import Thumbnail
from worker.decoding.inside.images import make_thumbnail

FORMATS = ("JPEG", "PNG", "WEBP")
MORE_FORMATS = ("TIFF", "AVIF", "HEIF")


def make_and_open(content: bytes) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail, and return it with the opened image."""
    made = make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def raises_code(code: str) -> AbstractContextManager[pytest.ExceptionInfo[Undecodable]]:
    """Expect that no thumbnail can be made, and that the error's text is this reason code."""
    return pytest.raises(Undecodable, match=f"^{code}$")


def are_close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    """Return True if all colours differ by at most 6, which is the error of lossy formats."""
    return all(
        abs(one - other) <= 6
        for pixel, other_pixel in zip(found, wanted, strict=True)
        for one, other in zip(pixel, other_pixel, strict=True)
    )


def looks_like(one: Image.Image, other: Image.Image, *, within: float) -> bool:
    """Return True if two images are similar.

    `within` is the largest average difference of one band (R, G, B or alpha), on a scale up to 255.
    """
    difference = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    return max(ImageStat.Stat(difference).mean) <= within
