"""PNG files that are truncated or interlaced, or that have a bad chunk or a wrong checksum."""

import struct
import zlib

import pytest
from PIL import Image

from tests.data import images
from tests.data.pieces import png, png_chunk, png_chunks, with_png_chunks
from tests.support.thumbnails import looks_like, make_and_open
from worker.decoding.inside.png import ADAM7

pytestmark = pytest.mark.slow


def interlaced_png(image: Image.Image, colour: int, passes: int) -> bytes:
    """Write the first passes of an interlaced PNG of 8 bits per sample."""
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
    made, image = make_and_open(interlaced_png(drawn, colour, passes))
    assert made.reason == ("damaged" if passes < 7 else None)
    assert looks_like(image, drawn, within={1: 12, 7: 0}.get(passes, 4))


@pytest.mark.parametrize("interlaced", [False, True])
def test_row72_a_png_whose_pixels_end_too_early_in_good_order_is_damaged(interlaced: bool) -> None:
    drawn = Image.new("RGB", (90, 60), images.WHITE)
    for missing in (1, 91 * 3, 3000):
        whole = interlaced_png(drawn, 2, 7) if interlaced else images.encode(drawn, "PNG")
        rows = zlib.decompressobj().decompress(_pixels_of(whole))[:-missing]
        header = next(body for name, body in png_chunks(whole) if name == b"IHDR")
        made, _ = make_and_open(
            png(png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)))
        )
        assert made.reason == "damaged"


def test_a_png_that_is_black_at_its_end_is_not_damaged() -> None:
    for mode in ("1", "L", "P", "RGB", "I;16"):
        drawn = Image.new(mode, (90, 60))
        assert make_and_open(images.encode(drawn, "PNG"))[0].reason is None
    assert make_and_open(interlaced_png(Image.new("RGB", (90, 60)), 2, 7))[0].reason is None


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
    made, image = make_and_open(with_png_chunks(whole, chunk, before=before))
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
    made, image = make_and_open(content)
    assert made.reason in ("damaged", None)
    assert image.mode == "RGB"
    assert image.tobytes() == make_and_open(SOUND_PNG)[1].tobytes()
