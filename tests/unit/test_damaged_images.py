"""Images that are damaged or merely odd: shown as far as browsers show them, and told apart."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from shared.errors import Undecodable
from shared.facts import Thumbnail
from tests.data import images, seeds
from tests.data.pieces import (
    png,
    png_chunk,
    png_chunks,
    segment,
    with_png_chunks,
    with_segments,
)
from worker.decoding.inside.images import load_codecs, make_thumbnail
from worker.decoding.inside.png import ADAM7

pytestmark = pytest.mark.slow


@pytest.fixture
def more() -> Iterator[None]:
    """Have all formats decoded, for one test."""
    load_codecs({"tiff", "avif", "heic"})
    yield
    load_codecs()


def make(content: bytes) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail, and open it."""
    made = make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def cut(content: bytes) -> tuple[str | None, int | None, int | None, bool]:
    """Tell what is said of an image that may be cut off: reason, size, whether it is shown."""
    try:
        made, _ = make(content)
    except Undecodable as error:
        return error.code, error.facts.width, error.facts.height, False
    return made.reason, made.facts.width, made.facts.height, not made.facts.carries_more


def looks_like(one: Image.Image, other: Image.Image, *, within: float) -> bool:
    """Whether two pictures differ by no more than so much of 255, on average of each band."""
    difference = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    return max(ImageStat.Stat(difference).mean) <= within


WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: images.encode(images.noise(200, 150), "JPEG"),
    "jpeg-progressive": lambda: images.encode(images.noise(200, 150), "JPEG", progressive=True),
    "jpeg-shrunk-decoding": lambda: images.encode(images.noise(1300, 900), "JPEG"),
    "jpeg-flat": lambda: images.encode(images.quadrants(), "JPEG", progressive=True),
    "png": lambda: images.encode(images.noise(200, 150), "PNG"),
    "png-flat": lambda: images.encode(images.quadrants(), "PNG"),
    "gif": lambda: images.encode(images.noise(200, 150).convert("P"), "GIF"),
    "webp": lambda: images.encode(images.noise(200, 150), "WEBP"),
    "webp-lossless": lambda: images.encode(images.noise(200, 150), "WEBP", lossless=True),
    **{f"{kind.lower()}-animated": partial(images.animation, kind) for kind in ("GIF", "WEBP")},
    "apng": lambda: images.animation("PNG"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_row72_wherever_it_is_cut_it_is_damaged_and_measured(name: str) -> None:
    whole = WHOLE[name]()
    made, _ = make(whole)
    assert made.reason is None
    sizes = [len(whole) * sixteenth // 16 for sixteenth in range(1, 16)]
    found = [cut(whole[:size]) for size in sizes]
    found += [cut(whole[:-missing]) for missing in (4, 12, 16)]
    assert {code for code, *_ in found} == {"damaged"}
    measured = (made.facts.width, made.facts.height)
    assert all(tuple(size) in ((None, None), measured) for _, *size, _ in found)
    assert [shown for *_, shown in found].count(True) >= 10


MUCH_THERE: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "jpeg-grey": ("JPEG", {"mode": "L"}),
    "jpeg-cmyk": ("JPEG", {"mode": "CMYK"}),
    "png": ("PNG", {}),
    "png-grey": ("PNG", {"mode": "L"}),
    "png-palette": ("PNG", {"mode": "P"}),
    "png-one-bit": ("PNG", {"mode": "1"}),
    "png-alpha": ("PNG", {"mode": "RGBA"}),
    "gif": ("GIF", {"mode": "P", "interlace": 0}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("name", MUCH_THERE)
def test_row72_what_is_left_of_a_cut_image_is_shown_and_the_rest_left_out(name: str) -> None:
    kind, options = MUCH_THERE[name]
    drawn = Image.blend(images.quadrants(960, 640), images.noise(960, 640), 0.3)
    whole = images.encode(
        drawn.convert(options.get("mode", "RGB")),
        kind,
        **{key: value for key, value in options.items() if key != "mode"},
    )
    wanted = make(whole)[1].convert("RGBA")
    made, image = make(whole[: len(whole) * 2 // 3])
    assert (made.reason, made.facts.width, made.facts.height) == ("damaged", 960, 640)
    found = image.convert("RGBA")
    upper = (0, 0, found.width, found.height // 3)
    assert looks_like(found.crop(upper), wanted.crop(upper), within=12)
    if kind != "JPEG":
        assert found.getpixel((found.width - 9, found.height - 9)) == images.CLEAR


def interlaced_png(image: Image.Image, colour: int, passes: int) -> bytes:
    """Write the first passes of an interlaced PNG of 8 bits."""
    width, height = image.size
    rows = b""
    for column, row, across, down in ADAM7[:passes]:
        for y in range(row, height, down):
            shown = [image.crop((x, y, x + 1, y + 1)) for x in range(column, width, across)]
            rows += b"\0" + b"".join(pixel.tobytes() for pixel in shown)
    header = struct.pack("!IIBBBBB", width, height, 8, colour, 0, 0, 1)
    return png(png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)[:-1]))


@pytest.mark.parametrize(("mode", "colour"), [("L", 0), ("RGB", 2), ("LA", 4), ("RGBA", 6)])
@pytest.mark.parametrize("passes", [1, 3, 6, 7])
def test_row72_an_interlaced_png_is_shown_as_far_as_its_passes_go(
    mode: str, colour: int, passes: int
) -> None:
    drawn = images.quadrants().convert(mode)
    made, image = make(interlaced_png(drawn, colour, passes))
    assert made.reason == ("damaged" if passes < 7 else None)
    assert looks_like(image, drawn, within={1: 12, 7: 0}.get(passes, 4))


@pytest.mark.parametrize("interlaced", [False, True])
def test_row72_a_png_whose_pixels_end_too_early_in_good_order_is_damaged(interlaced: bool) -> None:
    drawn = Image.new("RGB", (90, 60), images.WHITE)
    for missing in (1, 91 * 3, 3000):
        whole = interlaced_png(drawn, 2, 7) if interlaced else images.encode(drawn, "PNG")
        rows = zlib.decompressobj().decompress(_pixels_of(whole))[:-missing]
        header = next(body for name, body in png_chunks(whole) if name == b"IHDR")
        made, _ = make(png(png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows))))
        assert made.reason == "damaged"


def test_a_png_that_is_black_at_its_end_is_not_damaged() -> None:
    for mode in ("1", "L", "P", "RGB", "I;16"):
        drawn = Image.new(mode, (90, 60))
        assert make(images.encode(drawn, "PNG"))[0].reason is None
    assert make(interlaced_png(Image.new("RGB", (90, 60)), 2, 7))[0].reason is None


def test_row72_a_jpeg_cut_between_its_scans_is_damaged() -> None:
    whole = images.encode(images.noise(200, 150), "JPEG", progressive=True)
    scans = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    assert len(scans) > 5
    for at in [*scans[1:], len(whole) - 2]:
        assert make(whole[:at])[0].reason == "damaged"


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_jpeg_without_its_end_is_shown_whole(kind: str) -> None:
    whole = images.encode(images.noise(1300, 900), "JPEG", progressive=kind == "progressive")
    assert make(whole[:-2])[1].tobytes() == make(whole)[1].tobytes()


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
def test_of_a_jpeg_with_a_stray_marker_what_stands_before_it_is_shown(
    options: dict[str, bool], bad: bytes
) -> None:
    drawn = Image.blend(images.quadrants(960, 640), images.noise(960, 640), 0.3)
    whole = images.encode(drawn, "JPEG", **options)
    at = len(whole) * 3 // 4
    made, image = make(whole[:at] + bad + whole[at + len(bad) :])
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
    assert make(whole[:at] + marker + whole[at:])[0].reason == "damaged"


def test_a_grey_jpeg_with_a_preview_or_blanks_behind_it_is_not_damaged() -> None:
    whole = images.encode(Image.new("RGB", (960, 640), (128, 128, 128)), "JPEG")
    for behind in (b"", bytes(700), bytes(12) + images.photo(), b"\n"):
        made, image = make(whole + behind)
        assert made.reason is None
        assert image.getpixel((5, 5)) == (128, 128, 128)


@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE], ids="{:x}".format)
def test_an_empty_or_short_segment_breaks_no_jpeg(marker: int) -> None:
    whole = images.encode(images.quadrants(), "JPEG")
    wanted = make(whole)[1]
    for body in SHORT:
        made, image = make(with_segments(whole, segment(marker, body)))
        assert made.reason is None, body
        assert looks_like(image, wanted, within=0), body


ANCILLARY = {
    b"tEXt": b"Comment\0x",
    b"gAMA": struct.pack("!I", 45455),
    b"pHYs": bytes(9),
    b"iCCP": b"x\0\0abc",
    b"tIME": bytes(7),
    b"prVt": b"abc",
    b"eXIf": b"II*\0",
    b"bKGD": bytes(6),
    b"sBIT": bytes([8, 8, 8]),
    b"cHRM": bytes(3),
    b"sRGB": b"",
    b"acTL": b"\0",
    b"fcTL": b"\0",
    b"tRNS": b"\0",
}


@pytest.mark.parametrize("name", ANCILLARY, ids=lambda name: name.decode())
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_row78_nothing_that_is_wrong_with_an_ancillary_chunk_breaks_a_png(
    name: bytes, before: bytes
) -> None:
    whole = images.encode(images.quadrants(), "PNG")
    chunk = png_chunk(name, ANCILLARY[name], crc=1)
    made, image = make(with_png_chunks(whole, chunk, before=before))
    assert made.reason is None
    assert looks_like(image, images.quadrants(), within=0)


def _pixels_of(whole: bytes) -> bytes:
    return b"".join(body for name, body in png_chunks(whole) if name == b"IDAT")


def _with_pixels(*pieces: bytes) -> bytes:
    header = next(body for name, body in png_chunks(SOUND_PNG) if name == b"IHDR")
    pixels = [png_chunk(b"IDAT", piece) for piece in pieces]
    return png(png_chunk(b"IHDR", header), *pixels)


SOUND_PNG = images.encode(images.quadrants(), "PNG")
DEFLATED = zlib.compress(zlib.decompress(_pixels_of(SOUND_PNG)))
WRONG = DEFLATED[:-1] + bytes([DEFLATED[-1] ^ 1])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SOUND_PNG[:-12], id="without-end"),
        pytest.param(SOUND_PNG[:-4], id="end-cut"),
        pytest.param(SOUND_PNG[:-9], id="end-cut-in-its-name"),
        pytest.param(_with_pixels(WRONG), id="wrong-adler"),
        pytest.param(_with_pixels(WRONG[:-2], WRONG[-2:]), id="wrong-adler-in-two-chunks"),
        pytest.param(_with_pixels(WRONG[:-4], b"", WRONG[-4:]), id="wrong-adler-alone"),
        pytest.param(_with_pixels(DEFLATED[:-4]), id="without-adler"),
    ],
)
def test_row78_of_a_png_without_its_end_or_its_checksum_all_is_shown(content: bytes) -> None:
    made, image = make(content)
    assert made.reason in ("damaged", None)
    assert image.mode == "RGB"
    assert image.tobytes() == make(SOUND_PNG)[1].tobytes()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_blank_bytes_behind_an_image_are_not_more_and_others_are(kind: str) -> None:
    whole = images.encode(images.quadrants(), kind)
    for tail, more in ((b"\0" * 4096, False), (b"\r\n \t", False), (b"\0<html>", True)):
        made, image = make(whole + tail)
        assert (made.reason, made.facts.carries_more) == (None, more)
        assert image.tobytes() == make(whole)[1].tobytes()


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_whose_first_frame_is_whole_is_shown_wherever_it_is_cut(kind: str) -> None:
    frames = [images.noise(120, 80), *(images.noise(120, 80).rotate(180) for _ in range(3))]
    if kind == "GIF":
        frames = [frame.convert("P") for frame in frames]
    whole = images.encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=90)
    wanted = make(whole)[1].convert("RGB")
    for missing in (0.4, 0.2, 0.05):
        made, image = make(whole[: int(len(whole) * (1 - missing))])
        assert (made.reason, made.facts.width, made.facts.height) == ("damaged", 120, 80)
        assert looks_like(image, wanted, within=3)


@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("name", seeds.MORE)
def test_row72_more_formats_are_damaged_wherever_they_are_cut(name: str) -> None:
    whole = seeds.seed(name)
    make(whole)
    sizes = [len(whole) * sixteenth // 16 for sixteenth in range(1, 16)]
    for size in [*sizes, *(len(whole) - missing for missing in (1, 2, 4, 12, 16))]:
        assert cut(whole[:size])[0] == "damaged"
