"""HDR images, images that name their colour space by code points, and small lossless images."""

import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.errors import Undecodable
from tests.data import images, odd_images, profiles
from worker.decoding.inside import heif
from worker.decoding.inside.colour_spaces import (
    PRIMARIES,
    by_code_points,
    by_gamma,
    by_profile,
    icc_profile,
    linear_to_srgb,
    srgb_to_linear,
    to_xyz,
)
from worker.decoding.inside.images import load_codecs, make_thumbnail

pytestmark = pytest.mark.slow

COLOUR = (200, 100, 50)
WIDE = profiles.rgb_profile("prophoto")
P3 = tuple(round(100_000 * value) for value in PRIMARIES[12])
BT2020 = tuple(round(100_000 * value) for value in PRIMARIES[9])


@pytest.fixture(autouse=True)
def more() -> Iterator[None]:
    load_codecs({"avif", "heic", "tiff"})
    yield
    load_codecs()


def shown(content: bytes) -> tuple[int, ...]:
    """Return the middle pixel of a file's thumbnail."""
    image = Image.open(io.BytesIO(make_thumbnail(io.BytesIO(content)).body))
    image.load()
    value = image.getpixel((image.width // 2, image.height // 2))
    return value if isinstance(value, tuple) else (int(value or 0),)


def is_near(found: tuple[int, ...], wanted: tuple[int, ...], within: int = 2) -> bool:
    return len(found) == len(wanted) and all(
        abs(one - other) <= within for one, other in zip(found, wanted, strict=True)
    )


def png(*chunks: tuple[bytes, bytes], mode: str = "RGB", colour: object = COLOUR) -> bytes:
    """Return a PNG of one colour; these chunks come before its pixels."""
    content = images.encode(Image.new(mode, (20, 10), colour), "PNG")  # type: ignore[arg-type]  # a colour of any mode
    for name, body in reversed(chunks):
        content = odd_images.png_with_chunk(name, body, content)
    return content


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def chrm(values: tuple[int, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def cicp(*values: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(values)


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        pytest.param([gama(100_000)], (229, 168, 122), id="gama-1"),
        pytest.param([gama(55_556)], (210, 119, 65), id="gama-1.8"),
        pytest.param([gama(45_455)], COLOUR, id="gama-2.2"),
        pytest.param([gama(0)], COLOUR, id="gama-0"),
        pytest.param([(b"gAMA", b"\0")], COLOUR, id="gama-short"),
        pytest.param([gama(100_000), (b"sRGB", b"\0")], COLOUR, id="srgb-before-gama"),
        pytest.param([gama(45_455), chrm(P3)], (216, 93, 24), id="p3-by-chrm"),
        pytest.param([gama(100_000), chrm(BT2020)], (255, 159, 113), id="bt2020-by-chrm"),
        pytest.param([chrm(P3)], COLOUR, id="chrm-alone"),
        pytest.param([iccp(b"junk" * 40), gama(100_000)], (229, 168, 122), id="no-profile"),
        pytest.param([iccp(WIDE[:-9]), gama(100_000)], (229, 168, 122), id="profile-cut"),
        pytest.param([iccp(WIDE), gama(100_000)], (255, 80, 46), id="profile-before-gama"),
        pytest.param([gama(45_455), chrm((0,) * 8)], COLOUR, id="impossible-chrm"),
        pytest.param([cicp(12, 13, 0, 1)], (215, 93, 31), id="p3-by-cicp"),
        pytest.param([cicp(9, 1, 0, 1)], (239, 63, 5), id="bt2020-of-video"),
        pytest.param([cicp(1, 1, 0, 1)], (197, 91, 39), id="bt709-of-video"),
        pytest.param([cicp(1, 8, 0, 1)], (229, 168, 122), id="linear"),
        pytest.param([cicp(1, 4, 0, 1)], (201, 100, 46), id="gamma-2.2"),
        pytest.param([cicp(1, 13, 0, 1)], COLOUR, id="srgb"),
        pytest.param([gama(100_000), cicp(12, 13, 0, 1)], (215, 93, 31), id="cicp-before-gama"),
        pytest.param([cicp(200, 200, 0, 1)], COLOUR, id="unknown-numbers"),
        pytest.param([cicp(12, 13, 0, 0)], COLOUR, id="narrow-range"),
        pytest.param([cicp(12, 13, 1, 1)], COLOUR, id="not-rgb"),
        pytest.param([cicp(12, 13, 0)], COLOUR, id="cicp-short"),
        pytest.param([cicp(9, 16, 0, 1)], (255, 0, 0), id="pq"),
        pytest.param([cicp(9, 18, 0, 1)], (230, 48, 17), id="hlg"),
    ],
)
def test_row80_a_png_is_shown_as_chromium_shows_it(
    chunks: list[tuple[bytes, bytes]], wanted: tuple[int, ...]
) -> None:
    """The wanted values are those that Chromium 156 draws for the same files."""
    assert is_near(shown(png(*chunks)), wanted)


@pytest.mark.parametrize(
    ("transfer", "values"),
    [
        (16, {60: 26, 100: 76, 128: 132, 148: 187, 180: 242, 200: 255, 255: 255}),
        (18, {60: 39, 100: 75, 128: 99, 148: 120, 180: 166, 200: 202, 230: 234, 255: 255}),
    ],
    ids=["pq", "hlg"],
)
def test_row80_grey_of_a_high_range_is_mapped_to_a_screen(
    transfer: int, values: dict[int, int]
) -> None:
    """The wanted values are those that Chromium 156 draws for the same files."""
    for value, wanted in values.items():
        content = png(cicp(9, transfer, 0, 1), colour=(value, value, value))
        assert is_near(shown(content), (wanted,) * 3)
        grey = png(cicp(9, transfer, 0, 1), mode="L", colour=value)
        assert is_near(shown(grey), (wanted,) * 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("points", "wanted"),
    [((9, 16, 0, 1), 76), ((9, 18, 0, 1), 75), ((12, 13, 0, 1), 100), ((200, 200, 0, 1), 100)],
)
def test_row80_code_points_in_a_profile_of_a_high_range_count(
    kind: str, points: tuple[int, ...], wanted: int
) -> None:
    """The wanted values are those that Chromium 156 draws for the same files."""
    profile = profiles.rgb_profile("display-p3", points=bytes(points))
    grey = Image.new("RGB", (20, 10), (100, 100, 100))
    assert is_near(shown(images.encode(grey, kind, icc_profile=profile)), (wanted,) * 3)


@given(st.binary(max_size=400))
def test_no_bytes_of_a_profile_raise(tags: bytes) -> None:
    for count in (1, 2**32 - 1):
        by_profile(bytes(128) + struct.pack(">I", count) + tags)
    by_profile(tags)


def test_alpha_of_a_high_range_does_not_change() -> None:
    content = png(cicp(9, 18, 0, 1), mode="RGBA", colour=(*COLOUR, 77))
    assert is_near(shown(content), (230, 48, 17, 77))


def test_grey_with_a_gamma_stays_grey() -> None:
    assert is_near(shown(png(gama(100_000), mode="L", colour=100)), (168,))


def test_colours_after_the_pixels_are_ignored() -> None:
    whole = png(cicp(9, 16, 0, 1))
    at = whole.index(b"cICP") - 4
    chunk = whole[at : at + 16]
    assert is_near(shown(whole[:at] + whole[at + 16 : -12] + chunk + whole[-12:]), COLOUR)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ((1, 13), COLOUR),
        ((1, 1), COLOUR),
        ((2, 2), COLOUR),
        ((12, 1), (215, 93, 31)),
        ((12, 13), (215, 93, 31)),
        ((9, 1), (241, 76, 29)),
        ((1, 8), (229, 168, 122)),
        ((9, 16), (255, 0, 0)),
        ((9, 18), (230, 48, 17)),
    ],
    ids=str,
)
def test_row80_code_points_of_a_container_count(
    kind: str, points: tuple[int, int], wanted: tuple[int, ...]
) -> None:
    """The wanted values are those that Chromium 156 draws for AVIF.

    HEIC stores the code points in the same boxes, so a HEIC must show the same values.
    """
    content = images.encode(Image.new("RGB", (32, 32), COLOUR), kind, quality=100)
    at = content.find(b"colrnclx")
    if at < 0:
        pytest.fail("the writer gives no code points")
    content = content[: at + 8] + struct.pack(">HH", *points) + content[at + 12 :]
    assert is_near(shown(content), wanted, 6)


@pytest.mark.parametrize("codec", [b"vvc1", b"avc1", b"jpeg", b"unci", b"j2k1", b"evc1", b"none"])
@pytest.mark.parametrize("brand", [b"mif1", b"heic"])
def test_row83_a_heif_of_another_codec_is_unsupported(codec: bytes, brand: bytes) -> None:
    content = images.encode(Image.new("RGB", (64, 64), COLOUR), "HEIF")
    content = content[:8] + brand + content[12:].replace(b"hvc1", codec)
    with pytest.raises(Undecodable, match="unsupported"):
        make_thumbnail(io.BytesIO(content))


@given(st.binary(max_size=300))
def test_no_bytes_of_a_container_raise(body: bytes) -> None:
    start = b"\0\0\0\x18ftypmif1" + bytes(12)
    meta = heif.read_meta(
        io.BytesIO(start + struct.pack(">I", 12 + len(body)) + b"meta\0\0\0\0" + body)
    )
    assert meta == body
    heif.has_other_codec(meta)
    heif.colour_space(meta)


@pytest.mark.parametrize(
    ("kind", "options", "made_kind"),
    [
        ("WEBP", {"lossless": True}, "webp"),
        ("PNG", {}, "png"),
        ("TIFF", {"compression": "tiff_lzw"}, "png"),
        ("TIFF", {}, "png"),
        ("GIF", {}, "png"),
    ],
)
def test_a_small_lossless_image_keeps_every_pixel(
    kind: str, options: dict[str, object], made_kind: str
) -> None:
    source = images.noise(90, 60).quantize(200).convert("RGB")
    made = make_thumbnail(io.BytesIO(images.encode(source, kind, **options)))
    assert made.content_type == f"image/{made_kind}"
    image = Image.open(io.BytesIO(made.body)).convert("RGB")
    assert image.tobytes() == source.tobytes()


@pytest.mark.parametrize("options", [{"lossless": False}, {"lossless": True, "width": 900}])
def test_a_lossy_or_a_shrunk_webp_is_lossy(options: dict[str, int]) -> None:
    source = images.noise(options.pop("width", 90), 60)
    made = make_thumbnail(io.BytesIO(images.encode(source, "WEBP", **options)))
    assert b"VP8L" not in made.body[:16]


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
def test_an_orientation_in_xmp_is_ignored(kind: str) -> None:
    source = Image.new("RGB", (20, 10), (0, 0, 0))
    source.paste((255, 255, 255), (10, 0, 20, 10))
    if kind == "PNG":
        content = odd_images.png_with_chunk(
            b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP, images.encode(source, "PNG")
        )
    elif kind == "TIFF":
        content = images.encode(source, "TIFF", tiffinfo={700: XMP})
    else:
        content = images.encode(source, kind, xmp=XMP)
    assert b"tiff:Orientation" in content
    made = make_thumbnail(io.BytesIO(content))
    assert (made.facts.width, made.facts.height) == (20, 10)
    shown_image = Image.open(io.BytesIO(made.body)).convert("L")
    assert shown_image.size == (20, 10)
    left, right = (shown_image.crop(each).tobytes() for each in ((2, 2, 4, 8), (16, 2, 18, 8)))
    assert max(left) < 60
    assert min(right) > 200


def test_the_numbers_agree_with_the_standards() -> None:
    (_, (red, green, blue), _) = to_xyz(PRIMARIES[9])
    # These are the luma weights of BT.2020, the standard for wide colour.
    assert (red, green, blue) == pytest.approx((0.2627, 0.6780, 0.0593), abs=1e-4)
    for step in range(101):
        assert linear_to_srgb(srgb_to_linear(step / 100)) == pytest.approx(step / 100, abs=1e-4)
    assert by_code_points(2, 2) is None
    assert by_gamma(float("nan"), None) is None
    assert by_code_points(1, 13) is not None
    linear = by_gamma(1.0, None)
    assert linear is not None
    assert len(icc_profile(linear)) < 1000
