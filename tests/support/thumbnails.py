"""Thumbnails made in this process, and comparisons of their pixels."""

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
    """Make a thumbnail, and open it."""
    made = make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def raises_code(code: str) -> AbstractContextManager[pytest.ExceptionInfo[Undecodable]]:
    """Expect that there is no thumbnail, for just that reason."""
    return pytest.raises(Undecodable, match=f"^{code}$")


def are_close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    """Return True if colours are alike, as far as lossy formats keep them."""
    return all(
        abs(one - other) <= 6
        for pixel, other_pixel in zip(found, wanted, strict=True)
        for one, other in zip(pixel, other_pixel, strict=True)
    )


def looks_like(one: Image.Image, other: Image.Image, *, within: float) -> bool:
    """True if two pictures differ by no more than so much of 255, on average of each band."""
    difference = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    return max(ImageStat.Stat(difference).mean) <= within
