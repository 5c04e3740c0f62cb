"""What tells an image from an image with something else behind it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data import images
from worker.polyglots import carries_more

KINDS = ("PNG", "GIF", "WEBP")


def animation(kind: str) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (40, 30), number) for number in range(5)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=10)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [images.encode, animation], ids=["still", "animated"])
def test_a_plain_image_carries_nothing_more(kind: str, content: object) -> None:
    body = animation(kind) if content is animation else images.encode(images.quadrants(), kind)
    assert not carries_more(io.BytesIO(body), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "tail", [b"<script>", b"PK\x03\x04", b"alert(1);", b"\0\0\0\0IEND\xaeB`\x82"]
)
def test_whatever_follows_the_end_is_more(kind: str, tail: bytes) -> None:
    assert carries_more(io.BytesIO(images.encode(images.noise(40, 30), kind) + tail), kind)


def test_a_gif_that_begins_as_a_comment_is_more() -> None:
    assert carries_more(io.BytesIO(images.gif_with_script()), "GIF")


def test_a_jpeg_may_have_previews_behind_it() -> None:
    assert not carries_more(io.BytesIO(images.encode(images.quadrants(), "JPEG") + b"x"), "JPEG")


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_make_it_fail(kind: str, junk: bytes, kept: int) -> None:
    body = images.encode(images.quadrants(), kind)[:kept] + junk
    assert carries_more(io.BytesIO(body), kind) in (True, False)
