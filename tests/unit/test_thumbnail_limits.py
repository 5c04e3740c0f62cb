"""Images that are costly to decode are refused, or are measured without decoding."""

import io
import tracemalloc
import zlib

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import images, odd_images
from tests.support.thumbnails import FORMATS, MORE_FORMATS, are_close, make_and_open, raises_code
from worker.decoding.inside.costs import MIB, NOTHING, Cost
from worker.decoding.inside.images import make_thumbnail
from worker.decoding.inside.jpeg import MAX_SCANS

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", [*FORMATS, "GIF", *MORE_FORMATS])
def test_an_image_too_expensive_by_its_header_is_measured_and_not_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = images.encode(images.quadrants(100, 64), kind)
    make_and_open(content)

    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    for budget in (Cost(memory_bytes=2000, cpu_s=9), Cost(memory_bytes=MIB, cpu_s=1e-9), NOTHING):
        with monkeypatch.context() as patched, raises_code("too_expensive") as caught:
            patched.setattr("PIL.ImageFile.ImageFile.load", load)
            make_thumbnail(io.BytesIO(content), budget=budget)
        assert (caught.value.facts.width, caught.value.facts.height) == (100, 64)


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_an_image_that_is_not_decoded_is_measured_upright(kind: str) -> None:
    content = images.oriented(6, kind)
    with raises_code("too_expensive") as caught:
        make_thumbnail(io.BytesIO(content), budget=NOTHING)
    # A WebP stores its orientation after the pixels, so the orientation is unknown without
    # decoding.
    wanted = (120, 80) if kind != "WEBP" else (80, 120)
    assert (caught.value.facts.width, caught.value.facts.height) == wanted


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(odd_images.png_of_size(30_000, 30_000), id="row73-png-30000"),
        pytest.param(odd_images.png_of_size(2**31 - 1, 2**31 - 1), id="row73-png-2^31-1"),
        pytest.param(odd_images.png_of_size(2**31 - 1, 1), id="row73-png-one-line"),
        pytest.param(odd_images.gif_of_size(65_535, 65_535), id="row73-gif-65535"),
    ],
)
def test_row73_a_size_beyond_the_limit_is_refused_by_the_header(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(Undecodable, match="too_expensive"):
        make_and_open(content)


@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_row74_too_many_scans_are_refused(progressive: bool) -> None:
    with pytest.raises(Undecodable, match="too_expensive"):
        make_and_open(odd_images.many_scans(MAX_SCANS + 1, progressive=progressive))
    make_and_open(odd_images.many_scans(0, progressive=progressive))


BOMB = b"64 MiB of zeros, compressed"
"""A placeholder. The test itself makes these bytes, so that the import of this module is fast."""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        pytest.param(b"zTXt", b"Comment\0\0" + BOMB, id="row76-zTXt"),
        pytest.param(b"iTXt", b"Comment\0\1\0\0\0" + BOMB, id="row76-iTXt"),
        pytest.param(b"iCCP", b"profile\0\0" + BOMB, id="row76-iCCP"),
        pytest.param(b"iCCP", b"profile\0\0junk", id="row76-iCCP-junk"),
        pytest.param(b"iCCP", b"profile\0\7junk", id="row76-iCCP-method"),
        pytest.param(b"iCCP", b"", id="row76-iCCP-empty"),
        pytest.param(b"eXIf", b"II*\0" + b"\xff" * 60_000, id="row81-eXIf"),
        pytest.param(b"eXIf", b"", id="row81-eXIf-empty"),
        pytest.param(b"pHYs", b"\0", id="row76-pHYs"),
        pytest.param(b"gAMA", b"", id="row76-gAMA"),
    ],
)
def test_row76_a_bomb_beside_the_pixels_is_stepped_over(name: bytes, body: bytes) -> None:
    if body.endswith(BOMB):
        body = body.removesuffix(BOMB) + zlib.compress(bytes(64 * 1024 * 1024), 9)
    content = odd_images.png_with_chunk(name, body)
    tracemalloc.start()
    try:
        _, image = make_and_open(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert are_close(images.corners(image), images.MODES["png-rgb"][1])
    assert peak < 16 * 1024 * 1024


def test_row76_many_texts_are_stepped_over() -> None:
    text = zlib.compress(bytes(1_000_000), 9)
    whole = odd_images.png_with_chunk(b"zTXt", b"0\0\0" + text)
    chunk = whole[33 : 33 + 12 + 3 + len(text)]
    _, image = make_and_open(whole[:33] + chunk * 200 + whole[33:])
    assert are_close(images.corners(image), images.MODES["png-rgb"][1])
