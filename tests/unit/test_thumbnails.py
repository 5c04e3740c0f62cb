"""Images to thumbnails: every mode, upright, small, and without a trace of metadata."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image, ImageCms

from shared.errors import Undecodable
from shared.facts import Thumbnail
from tests.data import images, seeds
from tests.data.pieces import segment, with_segments
from worker.decoding.inside.costs import MIB, NOTHING, Cost
from worker.decoding.inside.images import load_codecs, make_thumbnail
from worker.decoding.inside.jpeg import MAX_SCANS, MAX_SEGMENTS
from worker.decoding.inside.shrinking import MAX_EDGE

pytestmark = pytest.mark.slow

KINDS = ("JPEG", "PNG", "WEBP")
MORE = ("TIFF", "AVIF", "HEIF")

PIXELS_ONLY = {0xE0, 0xDB, 0xC0, 0xC4, 0xDA, b"IHDR", b"IDAT", b"IEND", b"VP8 ", b"VP8L"}
"""What an output may consist of: for JPEG, JFIF's header, tables, frame and scan."""


@pytest.fixture
def more() -> Iterator[None]:
    """Have all formats decoded, for one test."""
    load_codecs({"tiff", "avif", "heic"})
    yield
    load_codecs()


def parts(body: bytes) -> set[object]:
    """List what a JPEG, PNG or WebP consists of."""
    is_jpeg = body.startswith(b"\xff\xd8")
    return {*(images.jpeg_segments(body) if is_jpeg else images.chunks(body))}


def make(content: bytes) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail, and open it."""
    made = make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def raises(code: str) -> AbstractContextManager[pytest.ExceptionInfo[Undecodable]]:
    """Expect that there is no thumbnail, for just that reason."""
    return pytest.raises(Undecodable, match=f"^{code}$")


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
    assert (made.facts.width, made.facts.height) == image.size == (120, 80)
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
    assert (made.facts.width, made.facts.height) == (1200, 800)
    assert abs(image.width / image.height - 1.5) < 0.02
    assert image.getexif().get(0x0112) is None


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _, image = make(images.encode(images.quadrants(), "JPEG", exif=exif))
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", [*KINDS, "GIF", *MORE])
def test_row81_no_metadata_reaches_the_thumbnail(kind: str) -> None:
    content = images.with_metadata(kind)
    assert images.SECRET.encode() in content
    made, image = make(content)
    assert images.SECRET.encode() not in made.body
    assert not image.getexif()
    assert parts(made.body) <= PIXELS_ONLY


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
    assert (made.facts.width, made.facts.height) == size
    assert image.size == wanted
    assert max(image.size) <= MAX_EDGE


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", [*KINDS, "GIF", *MORE])
def test_what_a_header_calls_too_expensive_is_measured_and_not_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = images.encode(images.quadrants(100, 64), kind)
    make(content)

    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    for budget in (Cost(memory_bytes=2000, cpu_s=9), Cost(memory_bytes=MIB, cpu_s=1e-9), NOTHING):
        with monkeypatch.context() as patched, raises("too_expensive") as caught:
            patched.setattr("PIL.ImageFile.ImageFile.load", load)
            make_thumbnail(io.BytesIO(content), budget=budget)
        assert (caught.value.facts.width, caught.value.facts.height) == (100, 64)


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_what_is_not_decoded_is_measured_upright(kind: str) -> None:
    content = images.oriented(6, kind)
    with raises("too_expensive") as caught:
        make_thumbnail(io.BytesIO(content), budget=NOTHING)
    wanted = (120, 80) if kind != "WEBP" else (80, 120)  # its turn stands behind its pixels
    assert (caught.value.facts.width, caught.value.facts.height) == wanted


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
    with pytest.raises(Undecodable, match="too_expensive"):
        make(content)


@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_row74_too_many_scans_are_refused(progressive: bool) -> None:
    with pytest.raises(Undecodable, match="too_expensive"):
        make(images.many_scans(MAX_SCANS + 1, progressive=progressive))
    make(images.many_scans(0, progressive=progressive))


@pytest.mark.parametrize("behind", [b"", b"\0" * 4, b"\xff\xfe\0\2" * 9000, b"\xff\0" * 100_000])
@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_row74_scans_are_counted_whatever_stands_before_them(
    progressive: bool, behind: bytes
) -> None:
    for count, outcome in ((0, nullcontext()), (MAX_SCANS + 1, raises("too_expensive"))):
        content = images.many_scans(count, progressive=progressive)
        for place in (content.index(b"\xff\xdb"), content.rindex(b"\xff\xda")):
            with outcome:
                make(content[:place] + behind + content[place:])


def test_row74_what_has_more_segments_than_are_walked_over_is_broken() -> None:
    content = images.many_scans(0)
    comment = b"\xff\xfe\0\2"
    make(with_segments(content, comment * (MAX_SEGMENTS - 100)))
    with raises("damaged"):
        make(with_segments(content, comment * MAX_SEGMENTS))


def test_row74_what_looks_like_scans_where_none_can_be_does_not_count() -> None:
    content = images.many_scans(0)
    looks_like = b"\xff\xda" * (MAX_SCANS + 1)
    film = make(content + looks_like)[0]
    assert film.body == make(content)[0].body
    assert make(with_segments(content, segment(0xED, looks_like)))[0].body == film.body
    at = content.rindex(b"\xff\xc4")  # between two scans
    between = content[:at] + segment(0xED, looks_like) + content[at:]
    assert make(between)[0].body == film.body


@pytest.mark.parametrize(
    "junk", [b"\0", b"\0\0", b"\0\0\0", b"junk" * 50_000, b"\xff\0", b"\xff\xff"]
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_junk_between_segments_breaks_no_jpeg(junk: bytes, options: dict[str, bool]) -> None:
    whole = images.encode(images.quadrants(), "JPEG", **options)
    for marker in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda"):
        at = whole.index(marker)
        _, image = make(whole[:at] + junk + whole[at:])
        assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("size", range(1, 64 * 1024 * 2, 64 * 1024 - 1))
def test_a_marker_is_found_where_one_reading_ends_and_the_next_begins(size: int) -> None:
    whole = images.encode(images.quadrants(), "JPEG")
    at = whole.index(b"\xff\xc0")
    for more in range(4):
        junk = bytes(size + more)
        with raises("unsupported"):
            make(whole[:at] + junk + b"\xff\xc3" + whole[at + 2 :])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"precision": 12}, id="12-bit"),
        pytest.param({"precision": 16}, id="16-bit"),
        pytest.param({"components": 2}, id="two-components"),
        pytest.param({"components": 5}, id="five-components"),
        *(
            pytest.param({"marker": marker}, id=f"SOF{marker & 15}")
            for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
        ),
    ],
)
def test_a_jpeg_of_a_kind_that_is_not_decoded_is_unsupported(kind: dict[str, int]) -> None:
    with pytest.raises(Undecodable, match="unsupported"):
        make(images.jpeg_variant(**kind))


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0", b"\xff\xd8\xff\xff"])
def test_a_jpeg_that_ends_in_its_header_is_truncated(content: bytes) -> None:
    with pytest.raises(Undecodable, match="damaged"):
        make(content)


def test_a_jpeg_with_a_damaged_header_is_broken() -> None:
    body = images.encode(images.quadrants(), "JPEG")
    with pytest.raises(Undecodable, match="damaged"):
        make(body[:20] + bytes(300) + body[320:])


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM", "ICO", "EPS", "TGA"])
def test_row83_other_formats_are_never_decoded(kind: str) -> None:
    with pytest.raises(Undecodable, match="damaged"):
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
        with suppress(Undecodable):
            assert max(make(content)[1].size) <= MAX_EDGE


def test_the_same_image_gives_the_same_bytes() -> None:
    content = images.encode(images.noise(500, 400), "JPEG")
    assert make(content)[0].body == make(content)[0].body


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("orientation", range(1, 9), ids="row79-{}".format)
@pytest.mark.parametrize("kind", MORE)
def test_more_formats_are_upright_too(kind: str, orientation: int) -> None:
    content = images.oriented(orientation, kind, width=600, height=400)
    if kind != "TIFF":  # the container says it, in boxes of its own
        boxes = {1: (), 3: (b"irot",), 6: (b"irot",), 8: (b"irot",), 5: (b"irot", b"imir")}
        assert all(box in content for box in boxes.get(orientation, (b"imir",)))
    made, image = make(content)
    assert (made.content_type, made.extension) == ("image/jpeg", "jpg")
    assert (made.facts.width, made.facts.height) == (600, 400)
    assert image.size == (320, 213)
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", MORE)
def test_more_formats_keep_their_alpha_as_png(kind: str) -> None:
    image = images.quadrants().convert("RGBA")
    opaque, _ = make(images.encode(image.resize((600, 400)), kind))
    assert (opaque.content_type, opaque.extension) == ("image/jpeg", "jpg")
    image.paste(images.CLEAR, (60, 40, 120, 80))
    made, shown = make(images.encode(image, kind))
    assert (made.content_type, made.extension) == ("image/png", "png")
    assert close(images.corners(shown), images.MODES["png-rgba"][1])


@pytest.mark.usefixtures("more")
def test_a_box_shorter_than_its_head_is_broken_and_not_cut() -> None:
    whole = seeds.seed("avif")
    at = whole.index(b"meta") - 4
    with raises("damaged"):
        make(whole[:at] + struct.pack("!I", 7) + whole[at + 4 :])


@pytest.mark.parametrize("kind", MORE)
def test_more_formats_are_not_decoded_unless_asked_for(kind: str) -> None:
    load_codecs({"tiff", "avif", "heic"})
    load_codecs()
    with pytest.raises(Undecodable, match="damaged"):
        make(images.encode(images.quadrants(), kind))


def test_more_decoders_are_not_even_loaded_unless_asked_for() -> None:
    script = """
import sys
from worker.decoding.inside.images import load_codecs
load_codecs()
print(sorted({"PIL._avif", "_pillow_heif", "pypdfium2"} & set(sys.modules)))
load_codecs({"avif", "heic"})
print(sorted({"PIL._avif", "_pillow_heif", "pypdfium2"} & set(sys.modules)))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.splitlines() == ["[]", "['PIL._avif', '_pillow_heif']"]


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize(
    "compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"]
)
def test_tiff_is_read_as_scanners_write_it(compression: str | None) -> None:
    second = Image.new("RGB", (120, 80), images.BLUE)
    made, image = make(
        images.encode(
            images.quadrants(),
            "TIFF",
            compression=compression,
            save_all=True,
            append_images=[second],
        )
    )
    assert (made.facts.width, made.facts.height) == (120, 80)
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("compression", ["lzma", "zstd"])
def test_tiff_of_a_rare_compression_is_unsupported(compression: str) -> None:
    content = images.encode(images.quadrants(), "TIFF", compression="tiff_lzw")
    code = {"lzma": 34925, "zstd": 50000}[compression]
    # 259 is the tag of the compression, 3 says that a short follows, 1 that it is one
    lzw, other = (struct.pack("<HHIH", 259, 3, 1, value) for value in (5, code))
    assert lzw in content
    with pytest.raises(Undecodable, match="unsupported"):
        make(content.replace(lzw, other))
    unheard_of = struct.pack("<HHIH", 259, 3, 1, 4711)
    with pytest.raises(Undecodable, match="unsupported"):
        make(content.replace(lzw, unheard_of))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_lends_no_colour(kind: str) -> None:
    image = Image.new("RGBA", (1400, 900), images.CLEAR)
    for x in range(0, 1400, 14):  # stripes: each pixel of the thumbnail has of both
        image.paste((255, 0, 0, 255), (x, 0, x + 7, 900))
    options = {"lossless": True} if kind == "WEBP" else {}
    _, shown = make(images.encode(image, kind, **options))
    pixels = struct.iter_unpack("4B", shown.convert("RGBA").tobytes())
    seen = [pixel for pixel in pixels if pixel[3] > 40]
    assert len(seen) > 10_000
    # WebP's own loss aside, there is nothing but red
    assert min(red for red, _, _, _ in seen) >= (255 if kind == "PNG" else 215)
    assert max(max(green, blue) for _, green, blue, _ in seen) <= (0 if kind == "PNG" else 40)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_that_says_nothing_is_left_out(kind: str) -> None:
    assert make(images.encode(images.quadrants().convert("RGBA"), kind))[1].mode == "RGB"
    assert make(images.encode(images.quadrants().convert("LA"), kind))[1].mode in ("L", "RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_it_is_sharp_and_not_aliased(kind: str) -> None:
    # a checkerboard of single pixels is grey from afar; single white lines are lines still
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
    _, shown = make(images.encode(image.convert("RGB"), kind, **options))
    grey = shown.convert("L")
    low, high = grey.crop((5, 5, 150, 235)).getextrema()
    assert high - low <= 16  # type: ignore[operator]  # of one band
    lines = grey.crop((160, 120, 315, 121)).tobytes()
    assert max(lines) >= 215
    assert sum(one < 110 <= other for one, other in pairwise(lines)) == 15


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_shown(kind: str) -> None:
    made, image = make(images.animation(kind))
    assert close(images.corners(image), images.MODES["png-rgb"][1])
    assert getattr(image, "n_frames", 1) == 1
    assert (made.facts.width, made.facts.height) == (120, 80)


def test_of_an_apng_its_picture_for_everyone_is_shown() -> None:
    _, image = make(images.animation("PNG", default_image=True))
    assert close(images.corners(image), images.MODES["png-rgb"][1])


@pytest.mark.parametrize("transparent", [True, False])
def test_what_a_first_frame_does_not_cover_is_transparent(transparent: bool) -> None:
    made, image = make(images.gif_in_a_corner(transparent=transparent))
    assert (made.facts.width, made.facts.height) == image.size == (120, 80)
    assert images.corners(image) == [*[images.CLEAR] * 3, (*images.RED, 255)]


@pytest.mark.parametrize("many", [images.gif_of_many, images.apng_of_many], ids=["gif", "apng"])
def test_row77_of_many_frames_only_the_first_is_decoded(
    many: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = []
    real = Image._getdecoder  # private in Pillow: the one place where decoders are made

    def counted(*args: Any) -> Any:
        decoders.append(args)
        return real(*args)

    monkeypatch.setattr("PIL.Image._getdecoder", counted)
    made, image = make(many(50_000))
    assert len(decoders) == 2  # one here, to look at the thumbnail
    assert not made.facts.carries_more
    assert close(images.corners(image), images.MODES["png-rgb"][1])


BOMB = zlib.compress(bytes(64 * 1024 * 1024), 9)


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
    content = images.png_with_chunk(name, body)
    tracemalloc.start()
    try:
        _, image = make(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert close(images.corners(image), images.MODES["png-rgb"][1])
    assert peak < 16 * 1024 * 1024


def test_row76_many_texts_are_stepped_over() -> None:
    text = zlib.compress(bytes(1_000_000), 9)
    whole = images.png_with_chunk(b"zTXt", b"0\0\0" + text)
    chunk = whole[33 : 33 + 12 + 3 + len(text)]
    _, image = make(whole[:33] + chunk * 200 + whole[33:])
    assert close(images.corners(image), images.MODES["png-rgb"][1])


def test_an_orientation_after_the_pixels_is_ignored() -> None:
    whole = images.oriented(6, "PNG")
    at = whole.index(b"eXIf") - 4
    size = 12 + int.from_bytes(whole[at : at + 4], "big")
    moved = whole[:at] + whole[at + size : -12] + whole[at : at + size] + whole[-12:]
    made, _ = make(moved)
    assert (made.facts.width, made.facts.height) == (80, 120)


@pytest.mark.parametrize("index", [b"junk", b"MM\0*\0\0\0\x08\0\0", b""])
def test_row84_a_bad_list_of_pictures_breaks_no_picture(index: bytes) -> None:
    body = images.encode(images.quadrants(), "JPEG")
    mpf = b"MPF\0" + index
    segment = b"\xff\xe2" + struct.pack("!H", len(mpf) + 2) + mpf
    _, image = make(body[:2] + segment + body[2:])
    assert close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_what_hardly_compresses_is_encoded_too(subsampling: str) -> None:
    content = images.encode(images.noise(320, 320), "JPEG", quality=100, subsampling=subsampling)
    assert make(content)[1].size == (320, 320)


def test_what_stands_before_the_jpeg_header_is_no_reason_to_read_on() -> None:
    body = images.encode(images.quadrants(), "JPEG")
    filled = body[:2] + b"\xff" * 100 + body[2:]
    assert close(images.corners(make(filled)[1]), images.MODES["jpeg-rgb"][1])
