"""Thumbnails of animations: only the first frame is decoded and shown."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.data import images, odd_images
from tests.support.thumbnails import are_close, make_and_open

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_shown(kind: str) -> None:
    made, image = make_and_open(odd_images.animation(kind))
    assert are_close(images.corners(image), images.MODES["png-rgb"][1])
    assert getattr(image, "n_frames", 1) == 1
    assert (made.facts.width, made.facts.height) == (120, 80)


def test_of_an_apng_that_hides_its_default_image_the_first_frame_is_shown() -> None:
    _, image = make_and_open(odd_images.animation("PNG", default_image=True))
    assert are_close(images.corners(image), [(*images.BLUE, 255)] * 4)


@pytest.mark.parametrize("transparent", [True, False])
def test_pixels_outside_the_first_frame_are_transparent(transparent: bool) -> None:
    made, image = make_and_open(odd_images.gif_in_a_corner(transparent=transparent))
    assert (made.facts.width, made.facts.height) == image.size == (120, 80)
    assert images.corners(image) == [*[images.CLEAR] * 3, (*images.RED, 255)]


@pytest.mark.parametrize(
    "many", [odd_images.gif_of_many, odd_images.apng_of_many], ids=["gif", "apng"]
)
def test_row77_of_many_frames_only_the_first_is_decoded(
    many: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = []
    # `_getdecoder` is private in Pillow, which creates all decoders by this function.
    real = Image._getdecoder

    def counted(*args: Any) -> Any:
        decoders.append(args)
        return real(*args)

    monkeypatch.setattr("PIL.Image._getdecoder", counted)
    made, image = make_and_open(many(50_000))
    assert len(decoders) == 2  # for the first frame, and for the thumbnail in `make_and_open`
    assert not made.facts.carries_more
    assert are_close(images.corners(image), images.MODES["png-rgb"][1])
