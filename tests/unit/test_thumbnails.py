"""Thumbnails of images of every mode are upright, small and sharp, and have no metadata."""

import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from PIL import Image, ImageCms

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE
from tests.data import images, odd_images
from tests.support.thumbnails import FORMATS, MORE_FORMATS, are_close, make_and_open

pytestmark = pytest.mark.slow
PIXELS_ONLY = {0xE0, 0xDB, 0xC0, 0xC4, 0xDA, b"IHDR", b"IDAT", b"IEND", b"VP8 ", b"VP8L"}
"""The only parts that a thumbnail file may have.

In a JPEG these are the JFIF header, the tables, the frame and the scan.
"""


def parts(body: bytes) -> set[object]:
    """Return the kinds of segments of a JPEG, or of chunks of a PNG or WebP."""
    is_jpeg = body.startswith(b"\xff\xd8")
    return {*(odd_images.jpeg_segments(body) if is_jpeg else odd_images.chunks(body))}


@pytest.mark.parametrize("name", images.MODES)
def test_every_mode_keeps_its_colours_and_its_alpha(name: str) -> None:
    draw, corners = images.MODES[name]
    made, image = make_and_open(draw())
    assert (made.facts.width, made.facts.height) == image.size == (120, 80)
    assert image.mode in ("L", "LA", "RGB", "RGBA")
    assert are_close(images.corners(image), corners)


@pytest.mark.parametrize(
    ("name", "content_type", "extension"),
    [
        ("jpeg-rgb", "image/jpeg", None),
        ("png-rgb", "image/png", None),
        ("gif", "image/png", "png"),
        ("gif-animated", "image/png", "png"),
        ("webp-lossy", "image/webp", None),
        ("webp-animated", "image/webp", None),
    ],
)
def test_the_format_stays_but_for_gif(name: str, content_type: str, extension: str | None) -> None:
    made, image = make_and_open(images.MODES[name][0]())
    assert (made.content_type, made.extension) == (content_type, extension)
    assert f"image/{str(image.format).lower()}" == content_type
    assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9), ids="row79-{}".format)
def test_it_is_upright_for_every_orientation(orientation: int, kind: str) -> None:
    made, image = make_and_open(images.oriented(orientation, kind, width=1200, height=800))
    assert are_close(
        images.corners(image),
        images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE),
    )
    assert (made.facts.width, made.facts.height) == (1200, 800)
    assert abs(image.width / image.height - 1.5) < 0.02
    assert image.getexif().get(0x0112) is None


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _, image = make_and_open(images.encode(images.quadrants(), "JPEG", exif=exif))
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", [*FORMATS, "GIF", *MORE_FORMATS])
def test_row81_no_metadata_reaches_the_thumbnail(kind: str) -> None:
    content = images.with_metadata(kind)
    assert images.SECRET.encode() in content
    made, image = make_and_open(content)
    assert images.SECRET.encode() not in made.body
    assert not image.getexif()
    assert parts(made.body) <= PIXELS_ONLY


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 128, b"\xff" * 5000])
def test_row81_a_bad_profile_is_ignored(kind: str, profile: bytes) -> None:
    _, image = make_and_open(images.with_profile(kind, profile))
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_outlives_a_profile(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    half = Image.new("RGBA", (50, 50), (255, 0, 0, 128))
    options = {"lossless": True} if kind == "WEBP" else {}
    _, image = make_and_open(images.encode(half, kind, icc_profile=profile, **options))
    assert are_close(images.corners(image), [(255, 0, 0, 128)] * 4)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1, 1), (1, 1)),
        ((320, 320), (320, 320)),
        ((321, 321), (320, 320)),
        ((800, 600), (320, 240)),
        ((600, 800), (240, 320)),
        ((1, 20000), (1, 320)),
        ((20000, 1), (320, 1)),
        ((3000, 10), (320, 1)),
    ],
    ids=lambda size: "×".join(map(str, size)),
)
@pytest.mark.parametrize("kind", [*FORMATS, "GIF"])
def test_row82_it_fits_and_keeps_its_shape(
    kind: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    if kind == "WEBP":  # an edge of a WebP has at most 16383 pixels
        size = (min(size[0], 16383), min(size[1], 16383))
    made, image = make_and_open(images.encode(Image.new("RGB", size), kind))
    assert (made.facts.width, made.facts.height) == size
    assert image.size == wanted
    assert max(image.size) <= THUMB_EDGE


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "EPS", "TGA"])
def test_row83_other_formats_are_never_decoded(kind: str) -> None:
    with pytest.raises(Undecodable, match="damaged"):
        make_and_open(images.encode(images.quadrants(), kind))


def test_row84_the_first_of_several_pictures_counts() -> None:
    second = Image.new("RGB", (120, 80), images.BLUE)
    content = images.encode(images.quadrants(), "MPO", save_all=True, append_images=[second])
    made, image = make_and_open(content)
    assert made.content_type == "image/jpeg"
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", [*FORMATS, "GIF"])
def test_broken_bytes_give_a_thumbnail_or_a_rejection(kind: str) -> None:
    whole = images.encode(images.noise(40, 30), kind)
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        content = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with suppress(Undecodable):
            assert max(make_and_open(content)[1].size) <= THUMB_EDGE


def test_the_same_image_gives_the_same_bytes() -> None:
    content = images.encode(images.noise(500, 400), "JPEG")
    assert make_and_open(content)[0].body == make_and_open(content)[0].body


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_have_no_colour(kind: str) -> None:
    image = Image.new("RGBA", (1400, 900), images.CLEAR)
    # The stripes are so narrow that each thumbnail pixel covers transparent and red pixels.
    for x in range(0, 1400, 14):
        image.paste((255, 0, 0, 255), (x, 0, x + 7, 900))
    options = {"lossless": True} if kind == "WEBP" else {}
    _, shown = make_and_open(images.encode(image, kind, **options))
    pixels = struct.iter_unpack("4B", shown.convert("RGBA").tobytes())
    seen = [pixel for pixel in pixels if pixel[3] > 40]
    assert len(seen) > 10_000
    # All visible pixels are red, within the error of WebP's compression.
    assert min(red for red, _, _, _ in seen) >= (255 if kind == "PNG" else 215)
    assert max(max(green, blue) for _, green, blue, _ in seen) <= (0 if kind == "PNG" else 40)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_opaque_alpha_is_left_out(kind: str) -> None:
    assert make_and_open(images.encode(images.quadrants().convert("RGBA"), kind))[1].mode == "RGB"
    assert make_and_open(images.encode(images.quadrants().convert("LA"), kind))[1].mode in (
        "L",
        "RGB",
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_it_is_sharp_and_not_aliased(kind: str) -> None:
    # In the thumbnail, a checkerboard of single pixels must become grey, and separate white lines
    # must stay separate.
    board = Image.frombytes("L", (2, 2), b"\0\xff\xff\0").resize((2, 2))
    image = Image.new("L", (1280, 960))
    for x in range(0, 1280, 2):
        image.paste(board, (x, 0))
    row = image.crop((0, 0, 1280, 2))
    for y in range(2, 960, 2):
        image.paste(row, (0, y))
    image.paste(0, (640, 0, 1280, 960))
    for x in range(660, 1280, 40):
        image.paste(255, (x, 0, x + 4, 960))
    options = {"quality": 98} if kind in ("JPEG", "WEBP") else {}
    _, shown = make_and_open(images.encode(image.convert("RGB"), kind, **options))
    grey = shown.convert("L")
    low, high = grey.crop((5, 5, 150, 235)).getextrema()
    assert high - low <= 16  # type: ignore[operator]  # of one band
    lines = grey.crop((160, 120, 315, 121)).tobytes()
    assert max(lines) >= 215
    assert sum(one < 110 <= other for one, other in pairwise(lines)) == 15


def test_an_orientation_after_the_pixels_is_ignored() -> None:
    whole = images.oriented(6, "PNG")
    at = whole.index(b"eXIf") - 4
    size = 12 + int.from_bytes(whole[at : at + 4], "big")
    moved = whole[:at] + whole[at + size : -12] + whole[at : at + size] + whole[-12:]
    made, _ = make_and_open(moved)
    assert (made.facts.width, made.facts.height) == (80, 120)


@pytest.mark.parametrize("index", [b"junk", b"MM\0*\0\0\0\x08\0\0", b""])
def test_row84_a_bad_list_of_pictures_breaks_no_picture(index: bytes) -> None:
    body = images.encode(images.quadrants(), "JPEG")
    mpf = b"MPF\0" + index
    segment = b"\xff\xe2" + struct.pack("!H", len(mpf) + 2) + mpf
    _, image = make_and_open(body[:2] + segment + body[2:])
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_an_incompressible_image_is_encoded_too(subsampling: str) -> None:
    content = images.encode(images.noise(320, 320), "JPEG", quality=100, subsampling=subsampling)
    assert make_and_open(content)[1].size == (320, 320)
