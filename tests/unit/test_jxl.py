"""Thumbnails of JPEG XL: upright, in sRGB, with alpha, of all or a part of the first frame."""

import io
import subprocess
import sys

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import further, images, jxl
from tests.support.thumbnails import are_close, looks_like, make_and_open, raises_code
from worker.decoding.inside.costs import NOTHING
from worker.decoding.inside.images import make_thumbnail
from worker.sniffing.dimensions import read_dimensions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("more_formats")]

COLOURS = images.MODES["jpeg-rgb"][1]
D65, SRGB_PRIMARIES, P3, BT2100 = 1, 1, 11, 9
LINEAR, SRGB, PQ = 8, 13, 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("container", [False, True], ids=["codestream", "container"])
def test_row79_an_image_is_turned_by_its_header(orientation: int, container: bool) -> None:
    stored = images.quadrants(600, 400)
    if orientation in images.AS_STORED:
        stored = stored.transpose(images.AS_STORED[orientation])
    content = jxl.encode(stored, orientation=orientation, container=container)
    made, image = make_and_open(content)
    assert (made.content_type, made.extension) == ("image/jpeg", "jpg")
    assert (made.facts.width, made.facts.height) == (600, 400)
    assert image.size == (320, 213)
    assert are_close(images.corners(image), COLOURS)
    assert read_dimensions("image/jxl", content) == (600, 400)


@pytest.mark.parametrize("distance", [0.0, 1.0])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_row80_grey_and_colours_keep_their_alpha(mode: str, distance: float) -> None:
    image = images.quadrants().convert(mode)
    if "A" in mode:
        image.paste(0, (60, 40, 120, 80))
    made, shown = make_and_open(jxl.encode(image, distance=distance))
    wanted = images.corners(image)
    assert are_close(images.corners(shown), wanted)
    assert made.extension == ("png" if "A" in mode or not distance else "jpg")


def test_only_the_first_frame_of_an_animation_is_shown() -> None:
    others = [Image.new("RGB", (120, 80), colour) for colour in (images.RED, images.BLUE)]
    made, shown = make_and_open(jxl.encode(images.quadrants(), *others))
    assert made.reason is None
    assert are_close(images.corners(shown), COLOURS)


def test_a_jpeg_that_was_packed_into_a_jpeg_xl_looks_the_same() -> None:
    jpeg = images.encode(images.quadrants(640, 480), "JPEG", quality=90)
    _, shown = make_and_open(jxl.from_jpeg(jpeg))
    _, wanted = make_and_open(jpeg)
    assert looks_like(shown, wanted, within=2)


@pytest.mark.parametrize("distance", [0.0, 0.5])
@pytest.mark.parametrize(
    ("code_points", "colour", "wanted"),
    [
        ((D65, SRGB_PRIMARIES, SRGB), (200, 100, 50), (200, 100, 50)),
        ((D65, P3, SRGB), (200, 100, 50), (213, 97, 37)),
        ((D65, SRGB_PRIMARIES, LINEAR), (128, 55, 10), (188, 128, 56)),
        # White paper (203 cd/m²) is 58 % in PQ. In the thumbnail it has half of the maximum light.
        ((D65, BT2100, PQ), (148, 148, 148), (188, 188, 188)),
    ],
    ids=["sRGB", "P3", "linear", "PQ"],
)
def test_colours_are_converted_to_srgb(
    code_points: tuple[int, int, int],
    colour: tuple[int, int, int],
    wanted: tuple[int, int, int],
    distance: float,
) -> None:
    image = Image.new("RGB", (64, 64), colour)
    _, shown = make_and_open(jxl.encode(image, code_points=code_points, distance=distance))
    assert are_close(images.corners(shown), images.opaque(*[wanted] * 4))


def test_an_image_with_black_ink_is_unsupported() -> None:
    with raises_code("unsupported") as caught:
        make_and_open(jxl.encode(images.quadrants(), black=True, distance=0))
    assert (caught.value.facts.width, caught.value.facts.height) == (120, 80)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("part", [3, 6, 9])
def test_row72_an_image_that_is_cut_off_is_shown_coarsely(progressive: bool, part: int) -> None:
    photo = Image.effect_noise((75, 50), 90).resize((1200, 800)).convert("RGB")
    content = jxl.encode(photo, progressive=progressive)
    made, shown = make_and_open(content[: len(content) * part // 10])
    assert made.reason == "damaged"
    assert (made.facts.width, made.facts.height) == (1200, 800)
    assert looks_like(shown, make_and_open(content)[1], within=30)


def test_an_image_without_pixels_is_damaged_and_has_its_size() -> None:
    with raises_code("damaged") as caught:
        make_and_open(further.jxl_header(500))
    assert (caught.value.facts.width, caught.value.facts.height) == (500, 500)


@pytest.mark.parametrize("side", [30_000, 2**30])
def test_a_large_size_is_refused_before_pixels_are_decoded(side: int) -> None:
    with raises_code("too_expensive") as caught:
        make_and_open(further.jxl_header(side))
    assert caught.value.facts.width == side
    assert read_dimensions("image/jxl", further.jxl_header(side)) == (side, side)


def test_a_header_is_measured_without_decoding() -> None:
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        make_thumbnail(io.BytesIO(jxl.encode(images.quadrants())), budget=NOTHING)
    assert caught.value.facts.width == 120


def test_neither_the_package_nor_numpy_is_imported_and_no_thread_is_started() -> None:
    script = """
import os, sys
from worker.decoding.inside.images import load_codecs
load_codecs({"jxl"})
print(sorted({"imagecodecs", "numpy"} & set(sys.modules)))
if sys.platform == "linux":
    assert len(os.listdir("/proc/self/task")) == 1
"""
    sent = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert sent.stdout == "[]\n"
