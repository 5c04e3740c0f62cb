"""Images to thumbnails: every mode, upright, small, and without a trace of metadata."""

import io
from contextlib import suppress

import pytest
from PIL import Image, ImageCms

from shared.errors import Rejected
from tests.data import images
from worker.thumbnails import MAX_EDGE, MAX_SCANS, Thumbnail, make_thumbnail

KINDS = ("JPEG", "PNG", "WEBP")


def make(content: bytes, *, max_pixels: int = 50_000_000) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail, and open it."""
    made = make_thumbnail(io.BytesIO(content), max_pixels=max_pixels)
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    """Whether colours are alike, as far as lossy formats keep them."""
    return all(
        abs(one - other) <= 6
        for pixel, other_pixel in zip(found, wanted, strict=True)
        for one, other in zip(pixel, other_pixel, strict=True)
    )


@pytest.mark.parametrize("name", images.MODES)
def test_every_mode_keeps_its_colours_and_its_alpha(name: str) -> None:
    draw, corners = images.MODES[name]
    made, image = make(draw())
    assert (made.width, made.height) == image.size == (120, 80)
    assert image.mode in ("L", "LA", "RGB", "RGBA")
    assert close(images.corners(image), corners)


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
    made, image = make(images.MODES[name][0]())
    assert (made.content_type, made.extension) == (content_type, extension)
    assert f"image/{str(image.format).lower()}" == content_type
    assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9), ids="row79-{}".format)
def test_it_is_upright_whatever_the_orientation(orientation: int, kind: str) -> None:
    made, image = make(images.oriented(orientation, kind, width=1200, height=800))
    assert close(
        images.corners(image),
        images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE),
    )
    assert (made.width, made.height) == (1200, 800)
    assert abs(image.width / image.height - 1.5) < 0.02
    assert image.getexif().get(0x0112) is None


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _, image = make(images.encode(images.quadrants(), "JPEG", exif=exif))
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", [*KINDS, "GIF"])
def test_row81_no_metadata_reaches_the_thumbnail(kind: str) -> None:
    content = images.with_metadata(kind)
    assert images.SECRET.encode() in content
    made, image = make(content)
    assert images.SECRET.encode() not in made.body
    assert not image.getexif()
    assert not {"exif", "xmp", "XML:com.adobe.xmp", "icc_profile", "comment", "Comment"} & set(
        image.info
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 128, b"\xff" * 5000])
def test_row81_a_bad_profile_is_ignored(kind: str, profile: bytes) -> None:
    _, image = make(images.with_profile(kind, profile))
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_outlives_a_profile(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    half = Image.new("RGBA", (50, 50), (255, 0, 0, 128))
    options = {"lossless": True} if kind == "WEBP" else {}
    _, image = make(images.encode(half, kind, icc_profile=profile, **options))
    assert close(images.corners(image), [(255, 0, 0, 128)] * 4)


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
@pytest.mark.parametrize("kind", [*KINDS, "GIF"])
def test_row82_it_fits_and_keeps_its_shape(
    kind: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    if kind == "WEBP":  # which has no longer edge
        size = (min(size[0], 16383), min(size[1], 16383))
    made, image = make(images.encode(Image.new("RGB", size), kind))
    assert (made.width, made.height) == size
    assert image.size == wanted
    assert max(image.size) <= MAX_EDGE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_row72_a_file_that_ends_too_early_is_rejected(kind: str, share: float) -> None:
    whole = images.encode(images.noise(200, 150), kind)
    with pytest.raises(Rejected) as rejected:
        make(whole[: int(len(whole) * share)])
    assert rejected.value.code == ("broken" if kind == "WEBP" else "truncated")


@pytest.mark.parametrize("kind", [*KINDS, "GIF"])
def test_the_limit_of_pixels_is_exact(kind: str) -> None:
    content = images.encode(Image.new("RGB", (100, 50)), kind)
    make(content, max_pixels=5000)
    with pytest.raises(Rejected, match="too_many_pixels"):
        make(content, max_pixels=4999)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(images.png_of_size(30_000, 30_000), id="row73-png-30000"),
        pytest.param(images.png_of_size(2**31 - 1, 2**31 - 1), id="row73-png-2^31-1"),
        pytest.param(images.png_of_size(2**31 - 1, 1), id="row73-png-one-line"),
        pytest.param(images.gif_of_size(65_535, 65_535), id="row73-gif-65535"),
    ],
)
def test_row73_a_size_beyond_the_limit_is_refused_by_the_header(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(Rejected, match="too_many_pixels"):
        make(content)


def test_row74_too_many_scans_are_refused() -> None:
    with pytest.raises(Rejected, match="too_many_scans"):
        make(images.many_scans(MAX_SCANS + 1))
    make(images.encode(images.noise(200, 200), "JPEG", progressive=True))


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM", "ICO", "EPS", "TGA"])
def test_row83_other_formats_are_never_decoded(kind: str) -> None:
    with pytest.raises(Rejected, match="broken"):
        make(images.encode(images.quadrants(), kind))


def test_row84_the_first_of_several_pictures_counts() -> None:
    second = Image.new("RGB", (120, 80), images.BLUE)
    content = images.encode(images.quadrants(), "MPO", save_all=True, append_images=[second])
    made, image = make(content)
    assert made.content_type == "image/jpeg"
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", [*KINDS, "GIF"])
def test_whatever_bytes_are_broken_it_is_a_thumbnail_or_a_rejection(kind: str) -> None:
    whole = images.encode(images.noise(40, 30), kind)
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        content = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with suppress(Rejected):
            assert max(make(content)[1].size) <= MAX_EDGE


def test_the_same_image_gives_the_same_bytes() -> None:
    content = images.encode(images.noise(500, 400), "JPEG")
    assert make(content)[0].body == make(content)[0].body
