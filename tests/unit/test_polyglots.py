"""The worker finds the end of an image file, and detects a missing end and data after the end."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data import images, odd_images
from worker.decoding.inside.polyglots import carries_more, find_end, is_cut_off

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
    assert not carries_more(io.BytesIO(body))
    assert not is_cut_off(io.BytesIO(body))
    assert find_end(io.BytesIO(body)) == len(body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "tail", [b"<script>", b"PK\x03\x04", b"alert(1);", b"\0\0\0\0IEND\xaeB`\x82"]
)
def test_bytes_after_the_end_count_as_more(kind: str, tail: bytes) -> None:
    body = images.encode(images.noise(40, 30), kind)
    assert carries_more(io.BytesIO(body + tail))
    assert find_end(io.BytesIO(body + tail)) == len(body)


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_it_is_cut_it_is_cut_off(kind: str) -> None:
    body = animation(kind)
    kept = list(range(12, len(body)))
    # A GIF without its last byte counts as complete, as does a GIF that ends between two blocks. So
    # the test omits these lengths.
    if kind == "GIF":
        starts = [at for at, byte in enumerate(body) if byte in b"!,;" and at]
        kept = [size for size in kept if size not in starts]
    whole = [size for size in kept if not is_cut_off(io.BytesIO(body[:size]))]
    assert whole == []


def test_a_gif_may_lack_its_trailer() -> None:
    body = animation("GIF")
    assert body.endswith(b"\0;")
    assert not is_cut_off(io.BytesIO(body[:-1]))
    assert not carries_more(io.BytesIO(body[:-1]))


def test_a_gif_that_begins_as_a_comment_is_more() -> None:
    assert carries_more(io.BytesIO(images.gif_with_script()))


def test_a_gif_of_fifty_thousand_frames_is_walked_to_its_end() -> None:
    assert not carries_more(io.BytesIO(odd_images.gif_of_many(50_000)))


def test_a_jpeg_may_have_previews_after_it() -> None:
    assert not carries_more(io.BytesIO(images.encode(images.quadrants(), "JPEG") + b"x"))


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_make_it_fail(kind: str, junk: bytes, kept: int) -> None:
    body = images.encode(images.quadrants(), kind)[:kept] + junk
    assert carries_more(io.BytesIO(body)) in (True, False)
    assert is_cut_off(io.BytesIO(body)) in (True, False)
