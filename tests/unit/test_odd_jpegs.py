"""JPEGs with unexpected markers, with empty segments, or without an end marker."""

import pytest
from PIL import Image

from tests.data import images
from tests.data.pieces import segment, with_segments
from tests.support.thumbnails import looks_like, make_and_open

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_jpeg_without_its_end_is_shown_whole(kind: str) -> None:
    whole = images.encode(images.noise(1300, 900), "JPEG", progressive=kind == "progressive")
    assert make_and_open(whole[:-2])[1].tobytes() == make_and_open(whole)[1].tobytes()


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xda\0\x0c\x09",
        b"\xff\xc4\0\x09\x55\x99",
        b"\xff\xc0\0\x0b\x08\0\x10",
        b"\xff\xdd\0\1",
    ],
    ids=["scan", "table", "frame", "restart"],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_is_shown_up_to_a_stray_marker(options: dict[str, bool], bad: bytes) -> None:
    drawn = Image.blend(images.quadrants(960, 640), images.noise(960, 640), 0.3)
    whole = images.encode(drawn, "JPEG", **options)
    at = len(whole) * 3 // 4
    made, image = make_and_open(whole[:at] + bad + whole[at + len(bad) :])
    assert made.reason == "damaged"
    left, right = images.corners(image)[:2]
    assert left[0] > 120 > left[1]
    assert right[1] > 120 > right[0]


SHORT = (
    b"",
    b"J",
    b"JFIF\0",
    b"JFIF\0\1\1",
    b"Exif\0\0",
    b"Exif\0\0II*\0",
    b"ICC_PROFILE\0",
    b"ICC_PROFILE\0\1",
    b"Adobe",
    b"Photoshop 3.0\x008BIM",
    b"MPF\0",
)


@pytest.mark.parametrize("marker", [b"\xff\xd9", b"\xff\xe5\0\x10", b"\xff\xfe\xff\xff"])
def test_a_jpeg_whose_pixels_end_early_in_good_order_is_damaged(marker: bytes) -> None:
    whole = images.encode(images.noise(960, 640), "JPEG")
    at = len(whole) // 2
    assert make_and_open(whole[:at] + marker + whole[at:])[0].reason == "damaged"


def test_a_grey_jpeg_with_a_preview_or_blanks_after_it_is_not_damaged() -> None:
    whole = images.encode(Image.new("RGB", (960, 640), (128, 128, 128)), "JPEG")
    for behind in (b"", bytes(700), bytes(12) + images.photo(), b"\n"):
        made, image = make_and_open(whole + behind)
        assert made.reason is None
        assert image.getpixel((5, 5)) == (128, 128, 128)


@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE], ids="{:x}".format)
def test_an_empty_or_short_segment_breaks_no_jpeg(marker: int) -> None:
    whole = images.encode(images.quadrants(), "JPEG")
    wanted = make_and_open(whole)[1]
    for body in SHORT:
        made, image = make_and_open(with_segments(whole, segment(marker, body)))
        assert made.reason is None, body
        assert looks_like(image, wanted, within=0), body
