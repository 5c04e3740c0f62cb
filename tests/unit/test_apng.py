"""The first frame of an animated PNG whose default image is not part of the animation."""

import io
import struct
import zlib

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import images
from worker.decoding.inside import apng, costs
from worker.decoding.inside.costs import Cost
from worker.decoding.inside.images import make_thumbnail

pytestmark = pytest.mark.slow

RED, BLUE = (200, 0, 0), (0, 0, 200)
CANVAS = (60, 40)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def control(size: tuple[int, int], place: tuple[int, int] = (0, 0)) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, *size, *place, 1, 10, 0, 0))


def pixels(size: tuple[int, int], colour: tuple[int, ...]) -> bytes:
    return zlib.compress((b"\0" + bytes(colour) * size[0]) * size[1])


def animation(
    size: tuple[int, int] = CANVAS,
    place: tuple[int, int] = (0, 0),
    *,
    hidden: bool = True,
    data: bytes | None = None,
    pieces: int = 1,
) -> bytes:
    """Return an animated PNG with a red default image and a blue frame."""
    whole = images.encode(Image.new("RGB", CANVAS, RED), "PNG")
    body = pixels(size, BLUE) if data is None else data
    length = -(-len(body) // pieces) if body else 1
    parts = [body[at : at + length] for at in range(0, len(body), length)]
    before = chunk(b"acTL", struct.pack(">II", 1, 0)) + (b"" if hidden else control(CANVAS))
    after = control(size, place) + b"".join(
        chunk(b"fdAT", struct.pack(">I", number + 1) + part) for number, part in enumerate(parts)
    )
    return whole[:33] + before + whole[33:-12] + after + whole[-12:]


def shown(content: bytes) -> tuple[Image.Image, tuple[int | None, int | None], str | None]:
    made = make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body)).convert("RGBA")
    return image, (made.facts.width, made.facts.height), made.reason


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_hidden_default_image_is_not_shown(pieces: int) -> None:
    image, size, reason = shown(animation(pieces=pieces))
    assert (size, reason) == (CANVAS, None)
    assert image.getpixel((30, 20)) == (*BLUE, 255)


def test_a_small_frame_is_at_its_place_on_an_empty_canvas() -> None:
    image, size, _ = shown(animation((20, 10), (5, 25)))
    assert size == image.size == CANVAS
    assert image.getpixel((6, 26)) == (*BLUE, 255)
    assert image.getpixel((24, 34)) == (*BLUE, 255)
    for outside in ((4, 26), (25, 26), (6, 24), (6, 35)):
        pixel = image.getpixel(outside)
        assert isinstance(pixel, tuple)
        assert pixel[3] == 0


def test_a_default_image_that_is_a_frame_is_shown() -> None:
    image, _, _ = shown(animation(hidden=False))
    assert image.getpixel((30, 20)) == (*RED, 255)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(animation((61, 40)), id="wider-than-the-canvas"),
        pytest.param(animation((60, 40), (1, 0)), id="beyond-the-canvas"),
        pytest.param(animation((0, 40)), id="empty"),
        pytest.param(animation(data=b""), id="no-data"),
    ],
)
def test_a_malformed_frame_gives_the_default_image(content: bytes) -> None:
    image, size, _ = shown(content)
    assert size == CANVAS
    assert image.getpixel((30, 20)) == (*RED, 255)


def test_a_file_that_is_cut_off_gives_a_picture_or_a_reason() -> None:
    content = animation()
    for end in range(33, len(content)):
        try:
            made = make_thumbnail(io.BytesIO(content[:end]))
        except Undecodable as error:
            assert error.code == "damaged"  # noqa: PT017 - a thumbnail is correct as well
        else:
            assert made.reason == "damaged"


def test_a_canvas_that_is_too_large_is_refused() -> None:
    whole = animation((20, 10))
    large = struct.pack(">II", 30_000, 30_000)
    header = chunk(b"IHDR", large + whole[24:29])
    with pytest.raises(Undecodable, match="too_expensive"):
        make_thumbnail(io.BytesIO(whole[:8] + header + whole[33:]))
    assert costs.of_canvas(30_000, 30_000).exceeds(costs.BUDGET)
    assert not costs.of_canvas(*CANVAS).exceeds(Cost(memory_bytes=10**6, cpu_s=1))


def test_a_file_without_animation_is_not_read_beyond_its_header() -> None:
    file = io.BytesIO(images.encode(images.noise(200, 200), "PNG"))
    assert apng.first_frame(file) is None
    assert file.tell() < 100
    assert apng.first_frame(io.BytesIO(b"GIF89a")) is None
