"""The placeholders of thumbnails, compared with those of the format's reference encoder."""

import io
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from worker.decoding.inside.images import make_thumbnail
from worker.decoding.inside.thumbhash import thumbhash

REFERENCE = {
    ("RGB", 100, 66): "KPgNJZKNl4kNuGiJd4d7iWn59fZo",
    ("RGB", 60, 100): "KPgNJBKd2ICLeLeXmIZY+fb2aA==",
    ("RGBA", 90, 90): "lJqGFQ4kf2N/d3c4Z39/9/d3aVT5NmZIUw==",
    ("RGBA", 100, 40): "lIqGEo4Uf2N+d2V/fvXnV2hU90dTKFI=",
}
"""The hashes that the npm package `thumbhash` 0.1.1 computes for the images of `drawn`.

The author of the format wrote this package.
"""


def drawn(mode: str, width: int, height: int) -> Image.Image:
    clear, opaque, half = ((0,), (255,), (128,)) if mode == "RGBA" else ((), (), ())
    image = Image.new(mode, (width, height), (200, 220, 255, *clear))
    pen = ImageDraw.Draw(image)
    pen.ellipse((5, 5, width // 2, height // 2), fill=(255, 40, 20, *opaque))
    pen.rectangle((width // 2, height // 2, width, height), fill=(10, 120, 30, *half))
    return image


def halves(text: str) -> list[int]:
    """Split a hash into numbers of four bits."""
    return [half for byte in b64decode(text) for half in (byte & 15, byte >> 4)]


@pytest.mark.parametrize(("mode", "width", "height"), REFERENCE)
def test_a_hash_is_that_of_the_reference_up_to_one_step(mode: str, width: int, height: int) -> None:
    found = halves(thumbhash(drawn(mode, width, height)))
    wanted = halves(REFERENCE[mode, width, height])
    assert len(found) == len(wanted)
    assert all(abs(one - other) <= 1 for one, other in zip(found, wanted, strict=True))


@given(
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA"]),
    width=st.integers(1, 320),
    height=st.integers(1, 320),
    opacity=st.integers(0, 255),
    colour=st.sampled_from(["teal", "red", "yellow", "blue", "lime", "white", "black"]),
)
def test_every_size_and_mode_has_a_hash(
    mode: str, width: int, height: int, opacity: int, colour: str
) -> None:
    image = Image.new("RGB", (width, height), colour).convert(mode)
    if "A" in image.getbands():
        image.putalpha(opacity)
    assert 7 <= len(b64decode(thumbhash(image))) <= 27


@pytest.mark.parametrize("colour", ["red", "yellow", "blue", "lime", "white", "black"])
@pytest.mark.parametrize("size", [(1, 1), (1, 320), (320, 1), (2, 2)])
def test_a_narrow_picture_of_a_bright_colour_has_a_hash(size: tuple[int, int], colour: str) -> None:
    assert len(b64decode(thumbhash(Image.new("RGB", size, colour)))) >= 7


@pytest.mark.parametrize("edge", [1, 5, 400])
def test_a_thumbnail_has_the_hash_of_its_pixels(edge: int) -> None:
    file = io.BytesIO()
    drawn("RGB", 60, 40).resize((3 * edge, 2 * edge)).save(file, "PNG")
    made = make_thumbnail(file)
    assert made.facts.thumbhash == thumbhash(Image.open(io.BytesIO(made.body)))
