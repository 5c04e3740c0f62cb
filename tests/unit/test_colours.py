"""Thumbnails show the pixels of every mode and colour space in sRGB, by published formulas."""

import io
import struct

import pytest
from PIL import Image, ImageCms

from shared.errors import Undecodable
from tests.data import images, odd_images, profiles
from worker.decoding.inside import colours
from worker.decoding.inside.images import load_codecs, make_thumbnail

pytestmark = pytest.mark.slow

TO_LINEAR_SRGB = (
    3.13386,
    -1.61687,
    -0.49062,
    -0.97877,
    1.91614,
    0.03345,
    0.07194,
    -0.22900,
    1.40524,
)
"""The matrix from XYZ at D50 to linear sRGB, row by row.

It is the inverse of sRGB's matrix, with Bradford's adaptation.
"""

SAMPLES = (
    (200, 100, 50),
    (60, 180, 90),
    (70, 80, 200),
    (250, 250, 250),
    (0, 0, 0),
    (128, 128, 128),
)


def encoded(linear: float) -> int:
    """Return the sRGB value (0 to 255) of a linear intensity (0 to 1) by IEC 61966-2-1."""
    linear = min(max(linear, 0.0), 1.0)
    curved = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * curved)


def textbook(name: str, colour: tuple[int, int, int]) -> tuple[int, ...]:
    """Convert a colour of one of RGB_SPACES to sRGB by the published formulas.

    The steps are linear light, XYZ, linear sRGB and encoded sRGB.
    """
    matrix, gamma = profiles.RGB_SPACES[name]
    light = [(value / 255) ** gamma for value in colour]
    xyz = [sum(matrix[3 * row + n] * light[n] for n in range(3)) for row in range(3)]
    return tuple(
        encoded(sum(TO_LINEAR_SRGB[3 * row + n] * xyz[n] for n in range(3))) for row in range(3)
    )


def shown(content: bytes) -> Image.Image:
    """Make a thumbnail of a file, and return it as an open image."""
    image = Image.open(io.BytesIO(make_thumbnail(io.BytesIO(content)).body))
    image.load()
    return image


def near(found: tuple[int, ...], wanted: tuple[int, ...], *, within: int = 3) -> bool:
    """Return True if two pixels differ by at most `within` in each channel."""
    return len(found) == len(wanted) and all(
        abs(one - other) <= within for one, other in zip(found, wanted, strict=True)
    )


def pixel(image: Image.Image, x: int = 1, y: int = 0) -> tuple[int, ...]:
    """Return a pixel as a tuple, even if the image has only one channel."""
    value = image.getpixel((x, y))
    return value if isinstance(value, tuple) else (int(value or 0),)


@pytest.mark.parametrize("space", profiles.RGB_SPACES)
@pytest.mark.parametrize("colour", SAMPLES, ids=str)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF", "palette", "alpha"])
def test_row80_wide_colours_become_srgb(
    space: str, colour: tuple[int, int, int], kind: str
) -> None:
    image: Image.Image = Image.new("RGB", (8, 8), colour)
    options: dict[str, object] = {"icc_profile": profiles.rgb_profile(space)}
    wanted = textbook(space, colour)
    match kind:
        case "WEBP":
            options["lossless"] = True
        case "JPEG":
            options |= {"quality": 100, "subsampling": 0}
        case "palette":
            image, kind = image.quantize(2), "PNG"
        case "alpha":
            image.putalpha(100)
            wanted, kind = (*wanted, 100), "PNG"
    load_codecs({"tiff"})
    try:
        found = pixel(shown(images.encode(image, kind, **options)))
    finally:
        load_codecs()
    assert near(found, wanted, within=4 if kind in ("WEBP", "JPEG", "TIFF") else 2)


def test_row80_wide_colours_are_not_srgb_already() -> None:
    for space in profiles.RGB_SPACES:
        assert not near(textbook(space, (200, 100, 50)), (200, 100, 50), within=6)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("level", [0, 40, 128, 200, 255])
@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_row80_grey_of_any_gamma_becomes_srgb(mode: str, level: int, gamma: float) -> None:
    if mode == "1":
        level = 255 * (level > 127)
    value = (level, 90) if mode == "LA" else level * 257 if mode == "I;16" else level
    image = Image.new(mode, (8, 8), value)
    found = shown(images.encode(image, "PNG", icc_profile=profiles.grey_profile(gamma)))
    wanted = encoded((level / 255) ** gamma)
    assert found.mode == ("LA" if mode == "LA" else "L")
    assert near(pixel(found), (wanted, 90) if mode == "LA" else (wanted,), within=2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("space", profiles.RGB_SPACES)
@pytest.mark.parametrize("level", [0, 100, 255])
def test_row80_grey_with_a_profile_of_rgb_becomes_srgb(space: str, level: int, kind: str) -> None:
    """Chromium 156 draws 119 for a level of 100 in ProPhoto RGB."""
    profile = profiles.rgb_profile(space)
    found = shown(images.encode(Image.new("L", (8, 8), level), kind, icc_profile=profile))
    assert found.mode == "L"
    assert near(pixel(found), textbook(space, (level,) * 3)[:1])
    with_alpha = shown(
        images.encode(Image.new("LA", (8, 8), (level, 90)), "PNG", icc_profile=profile)
    )
    assert near(pixel(with_alpha), (textbook(space, (level,) * 3)[0], 90))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        pytest.param("L", profiles.rgb_profile("prophoto")[:-100], id="grey-with-cut-rgb"),
        pytest.param("LA", bytes(1000), id="grey-alpha-with-zeros"),
        pytest.param("RGB", profiles.grey_profile(1.0), id="rgb-with-grey"),
        pytest.param("RGBA", profiles.grey_profile(1.0), id="rgba-with-grey"),
        pytest.param("RGB", profiles.rgb_profile("prophoto")[:-100], id="cut"),
        pytest.param("RGB", profiles.rgb_profile("prophoto")[:130], id="header-only"),
        pytest.param("RGB", bytes(1000), id="zeros"),
        pytest.param("RGB", b"junk", id="junk"),
        pytest.param("RGB", profiles.rgb_profile("prophoto", padding=5_000_000), id="row81-huge"),
    ],
)
def test_row81_a_profile_that_cannot_be_used_is_ignored(mode: str, profile: bytes) -> None:
    image = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    if "A" in mode:
        image.putalpha(90)
    found = shown(images.encode(image, "PNG", icc_profile=profile))
    assert found.mode == mode
    assert pixel(found) == pixel(image)


def test_a_large_profile_is_used_within_bounds() -> None:
    profile = profiles.rgb_profile("prophoto", padding=2_000_000)
    found = shown(images.encode(Image.new("RGB", (8, 8), SAMPLES[0]), "PNG", icc_profile=profile))
    assert near(pixel(found), textbook("prophoto", SAMPLES[0]))


def test_few_conversions_are_kept() -> None:
    image = Image.new("RGB", (8, 8), SAMPLES[0])
    for padding in range(1, 4 * colours.KEPT_PROFILES):
        colours.to_srgb(image, profiles.rgb_profile("adobe-rgb", padding=padding))
    assert colours.make_transform.cache_info().currsize <= colours.KEPT_PROFILES


def test_a_kept_conversion_gives_the_same() -> None:
    image, profile = Image.new("RGB", (8, 8), SAMPLES[0]), profiles.rgb_profile("display-p3")
    first, second = (colours.to_srgb(image, profile).tobytes() for _ in range(2))
    assert first == second != image.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(odd_images.jpeg_cmyk(adobe=True), id="row80-adobe"),
        pytest.param(odd_images.jpeg_cmyk(adobe=False), id="row80-not-adobe"),
        pytest.param(odd_images.jpeg_ycck(), id="row80-ycck"),
    ],
)
def test_row80_four_inks_show_their_colours(content: bytes) -> None:
    image = shown(content)
    assert image.mode == "RGB"
    for found, wanted in zip(images.corners(image), images.MODES["jpeg-rgb"][1], strict=True):
        assert near(found, wanted, within=10)


@pytest.mark.parametrize(
    ("colour", "wanted"),
    [
        (0, [(0,), (128,), (255,), (255,)]),
        (2, [(0,) * 3, (128,) * 3, (255,) * 3, (255,) * 3]),
        (4, [(0, 0), (128, 128), (255, 255), (255, 255)]),
        (6, [(0,) * 4, (128,) * 4, (255,) * 4, (255,) * 4]),
    ],
    ids=["row80-grey", "row80-rgb", "row80-grey-alpha", "row80-rgba"],
)
def test_row80_sixteen_bits_become_eight(colour: int, wanted: list[tuple[int, ...]]) -> None:
    image = shown(odd_images.deep_png(colour))
    if colour == 4:  # Pillow reads a grey PNG with alpha as RGBA
        wanted = [(grey, grey, grey, alpha) for grey, alpha in wanted]
    for x, expected in enumerate(wanted):
        assert near(pixel(image, x), expected, within=1), x


def test_row80_sixteen_bits_have_a_transparent_colour_of_sixteen() -> None:
    white = b"\xff\xff"
    grey = shown(odd_images.deep_png(0, key=white))
    assert [pixel(grey, x) for x in range(4)][2:] == [(255, 255), (255, 0)]
    rgb = shown(odd_images.deep_png(2, key=b"\x80\0" * 3))
    assert [pixel(rgb, x)[3] for x in range(4)] == [255, 0, 255, 255]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_row80_grey_of_few_bits_has_a_transparent_colour(depth: int) -> None:
    most = 2**depth - 1
    row = int("".join(format(value, f"0{depth}b") for value in (0, most)).ljust(16, "0"), 2)
    content = odd_images.png(
        (2, 1), depth, 0, b"\0" + row.to_bytes(2, "big"), (b"tRNS", struct.pack("!H", most))
    )
    image = shown(content)
    assert image.mode == "LA"
    assert [pixel(image, x) for x in range(2)] == [(0, 255), (255, 0)]


def test_row80_a_palette_may_be_half_transparent() -> None:
    palette = bytes((*images.RED, *images.GREEN, *images.BLUE))
    image = shown(
        odd_images.png((3, 1), 8, 3, b"\0\0\1\2", (b"PLTE", palette), (b"tRNS", b"\xff\x80\0"))
    )
    assert [pixel(image, x) for x in range(3)] == [
        (255, 0, 0, 255),
        (0, 255, 0, 128),
        (0, 0, 255, 0),
    ]


TIFFS = {
    "I;16": (Image.new("I;16", (8, 8), 0x8000), {}, (128,)),
    "I;16B": (Image.new("I;16B", (8, 8), 0x8000), {}, (128,)),
    "white-is-zero": (Image.new("I;16", (8, 8), 0xFFFF), {262: 0}, (0,)),
    "L": (Image.new("L", (8, 8), 77), {}, (77,)),
    "1": (Image.new("1", (8, 8), 1), {}, (255,)),
    "YCbCr": (Image.new("RGB", (8, 8), (200, 100, 50)).convert("YCbCr"), {}, (200, 100, 50)),
    "LAB": (Image.new("RGB", (8, 8), (200, 100, 50)).convert("LAB"), {}, (200, 100, 50)),
    "CMYK": (Image.new("RGB", (8, 8), (200, 100, 50)).convert("CMYK"), {}, (200, 100, 50)),
    "P": (Image.new("RGB", (8, 8), (200, 100, 50)).quantize(2), {}, (200, 100, 50)),
    "F": (Image.new("F", (8, 8), 0.5), {}, None),
    "I": (Image.new("I", (8, 8), 70_000), {}, None),
}


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"], ids=["raw", "lzw"])
def test_row80_tiff_of_any_mode_shows_its_colours(name: str, compression: str | None) -> None:
    image, tags, wanted = TIFFS[name]
    if name == "LAB":
        compression = None  # Pillow writes LAB images only without compression
    content = images.encode(image, "TIFF", compression=compression, tiffinfo=tags)
    load_codecs({"tiff"})
    try:
        if wanted is None:
            with pytest.raises(Undecodable, match="unsupported"):
                shown(content)
        else:
            assert near(pixel(shown(content)), wanted, within=4)
    finally:
        load_codecs()


def test_srgb_itself_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (8, 8), SAMPLES[0])
    found = shown(images.encode(image, "PNG", icc_profile=profile))
    assert near(pixel(found), SAMPLES[0], within=1)
