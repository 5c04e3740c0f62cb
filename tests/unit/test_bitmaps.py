"""Thumbnails of BMP files, icons and cursors look as browsers show the files."""

import io
import struct

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import images
from tests.data.bitmaps import COLOUR, EDGE, HEIGHT, PALETTE, SOLID, WIDTH, bmp, dib, icon_of
from worker.decoding.inside.images import make_thumbnail

pytestmark = pytest.mark.slow

ROW_32 = struct.pack("<4B", 50, 100, 200, 77) * WIDTH
MASKS = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)
ALPHA = struct.pack("<I", 0xFF000000)
OPAQUE = (*COLOUR, 255)


def shown(content: bytes) -> tuple[tuple[int, ...], tuple[int | None, int | None]]:
    """Return the middle pixel of a file's thumbnail, and the width and height of the
    file's image.
    """
    made = make_thumbnail(io.BytesIO(content))
    assert (made.content_type, made.extension, made.reason) == ("image/png", "png", None)
    image = Image.open(io.BytesIO(made.body)).convert("RGBA")
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel, (made.facts.width, made.facts.height)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        pytest.param(bmp(24, SOLID[24] * WIDTH * HEIGHT), OPAQUE, id="24"),
        pytest.param(bmp(24, SOLID[24] * WIDTH * HEIGHT, height=-HEIGHT), OPAQUE, id="top-down"),
        pytest.param(bmp(8, b"\1" * WIDTH * HEIGHT, palette=PALETTE), OPAQUE, id="8"),
        pytest.param(
            bmp(8, b"\x28\1\0\0" * HEIGHT + b"\0\1", palette=PALETTE, compression=1),
            OPAQUE,
            id="run-lengths",
        ),
        pytest.param(bmp(4, b"\x11" * WIDTH * HEIGHT, palette=PALETTE), OPAQUE, id="4"),
        pytest.param(bmp(32, ROW_32 * HEIGHT), OPAQUE, id="32"),
        pytest.param(bmp(32, ROW_32 * HEIGHT, compression=3, masks=MASKS), OPAQUE, id="masks"),
        pytest.param(
            bmp(32, ROW_32 * HEIGHT, compression=3, masks=MASKS + ALPHA, header_bytes=108),
            (*COLOUR, 77),
            id="alpha",
        ),
        pytest.param(
            bmp(
                32,
                struct.pack("<4B", 50, 100, 200, 0) * WIDTH * HEIGHT,
                compression=3,
                masks=MASKS + ALPHA,
                header_bytes=108,
            ),
            OPAQUE,
            id="alpha-of-0-everywhere",
        ),
        *(
            pytest.param(
                bmp(32, ROW_32 * HEIGHT, masks=masks + ALPHA, header_bytes=size),
                (*COLOUR, 77),
                id=f"alpha-without-masks-of-colours-{size}-{len(masks.strip(bytes(1)))}",
            )
            for size in (108, 124)
            for masks in (bytes(12), MASKS)
        ),
        pytest.param(
            bmp(32, ROW_32 * HEIGHT, compression=3, masks=MASKS + ALPHA, header_bytes=56),
            (*COLOUR, 77),
            id="alpha-in-version-3",
        ),
        pytest.param(
            bmp(32, ROW_32 * HEIGHT, masks=MASKS + bytes(4), header_bytes=124),
            OPAQUE,
            id="version-5-without-alpha",
        ),
        pytest.param(
            bmp(
                32,
                struct.pack("<4B", 50, 100, 200, 0) * WIDTH * HEIGHT,
                masks=bytes(12) + ALPHA,
                header_bytes=124,
            ),
            OPAQUE,
            id="version-5-with-alpha-of-0",
        ),
    ],
)
def test_row83_a_bmp_is_shown(content: bytes, wanted: tuple[int, ...]) -> None:
    assert shown(content) == (wanted, (WIDTH, HEIGHT))


@pytest.mark.parametrize(
    ("compression", "bit", "alpha"), [(3, 1, 255), (3, 0, 0), (0, 1, 255), (0, 0, 255)]
)
def test_row83_one_bit_of_alpha_counts_with_masks(compression: int, bit: int, alpha: int) -> None:
    """The wanted alpha values are those that Chromium 156 draws for the same files."""
    red, green, blue = (value >> 3 for value in COLOUR)
    colour = red << 10 | green << 5 | blue
    pixel, other = (struct.pack("<H", colour | each << 15) for each in (bit, not bit))
    masks = struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, 0x8000)
    pixels = (pixel * (WIDTH - 1) + other) * HEIGHT
    content = bmp(16, pixels, compression=compression, masks=masks, header_bytes=108)
    (*found, found_alpha), _ = shown(content)
    assert found_alpha == alpha
    assert all(abs(a - b) < 8 for a, b in zip(found, COLOUR, strict=True))


ORDERS = {
    "bgra": ((16, 8, 0, 24), (50, 100, 200, 77)),
    "rgba": ((0, 8, 16, 24), (200, 100, 50, 77)),
    "argb": ((8, 16, 24, 0), (77, 200, 100, 50)),
    "abgr": ((24, 16, 8, 0), (77, 50, 100, 200)),
}
"""For each order of bytes: the bit positions of red, green, blue and alpha, and a pixel's bytes."""


@pytest.mark.parametrize("has_alpha", [True, False])
@pytest.mark.parametrize(("size", "compression"), [(108, 3), (124, 3), (56, 3), (40, 6), (56, 6)])
@pytest.mark.parametrize("order", ORDERS)
def test_row83_masks_give_the_order_of_bytes(
    order: str, size: int, compression: int, *, has_alpha: bool
) -> None:
    """The wanted pixels are those that Chromium 156 draws for the same files."""
    places, pixel = ORDERS[order]
    masks = struct.pack("<4I", *(0xFF << place for place in places[:3]), 0)
    if has_alpha:
        masks = masks[:12] + struct.pack("<I", 0xFF << places[3])
    content = bmp(
        32,
        bytes(pixel) * WIDTH * HEIGHT,
        compression=compression,
        masks=masks[: size - 40],
        header_bytes=size,
    )
    if size == 40:  # the masks are after the header
        start = struct.pack("<I", 14 + 40 + 16)
        content = content[:10] + start + content[14:54] + masks + content[54:]
    assert shown(content) == ((*COLOUR, 77 if has_alpha else 255), (WIDTH, HEIGHT))


@pytest.mark.parametrize("compression", [4, 5])
def test_row83_a_bmp_that_wraps_another_format_is_unsupported(compression: int) -> None:
    with pytest.raises(Undecodable, match="unsupported"):
        make_thumbnail(io.BytesIO(bmp(24, bytes(5000), compression=compression)))


PIXELS = {
    "32-alpha": (32, bytes([50, 100, 200, 128]), False, (*COLOUR, 128)),
    "32-alpha-before-mask": (32, bytes([50, 100, 200, 128]), True, (*COLOUR, 128)),
    "32-without-alpha": (32, bytes([50, 100, 200, 0]), False, OPAQUE),
    "32-masked": (32, bytes([50, 100, 200, 0]), True, (*COLOUR, 0)),
    "24": (24, SOLID[24], False, OPAQUE),
    "24-masked": (24, SOLID[24], True, (*COLOUR, 0)),
    "8": (8, SOLID[8], False, OPAQUE),
    "4": (4, SOLID[4], False, OPAQUE),
    "1": (1, SOLID[1], False, OPAQUE),
}


@pytest.mark.parametrize("kind", [1, 2], ids=["icon", "cursor"])
@pytest.mark.parametrize("name", PIXELS)
def test_row83_an_icon_is_shown(name: str, kind: int) -> None:
    bits, pixel, is_masked, wanted = PIXELS[name]
    content = icon_of((EDGE, bits, dib(bits, pixel, is_masked=is_masked)), kind=kind)
    assert shown(content) == (wanted, (EDGE, EDGE))


def test_the_largest_picture_of_an_icon_is_shown() -> None:
    png = images.encode(Image.new("RGBA", (256, 256), (*COLOUR, 128)), "PNG")
    small = dib(32, bytes([0, 0, 0, 255]), edge=16)
    for pictures in ([(16, 32, small), (256, 32, png)], [(256, 32, png), (16, 32, small)]):
        assert shown(icon_of(*pictures)) == ((*COLOUR, 128), (256, 256))


def test_of_pictures_of_one_size_the_one_with_most_bits_is_shown() -> None:
    pictures = [(EDGE, bits, dib(bits, SOLID[bits])) for bits in (1, 24, 4)]
    content = icon_of((EDGE, 8, dib(8, b"\0")), *pictures)
    assert shown(content)[0] == OPAQUE


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(icon_of(), "damaged", id="no-picture"),
        pytest.param(icon_of((EDGE, 24, dib(24, SOLID[24])))[:60], "damaged", id="cut-off"),
        pytest.param(icon_of((EDGE, 24, b"")), "damaged", id="empty-picture"),
        pytest.param(icon_of((EDGE, 24, bytes(100))), "damaged", id="no-bitmap"),
        pytest.param(
            icon_of((EDGE, 24, dib(24, SOLID[24], rows=2**29))), "too_expensive", id="huge"
        ),
        pytest.param(
            icon_of((EDGE, 32, images.encode(images.noise(30, 30), "JPEG"))), "damaged", id="jpeg"
        ),
    ],
)
def test_a_bad_icon_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(Undecodable, match=code):
        make_thumbnail(io.BytesIO(content))


def test_an_icon_whose_png_is_too_large_is_refused_before_it_is_decoded() -> None:
    png = images.encode(Image.new("RGB", (9, 9)), "PNG")
    huge = png[:16] + struct.pack(">II", 40_000, 40_000) + png[24:]
    with pytest.raises(Undecodable, match="too_expensive"):
        make_thumbnail(io.BytesIO(icon_of((256, 32, huge))))


@pytest.mark.parametrize(
    "whole", [bmp(8, b"\1" * 1200, palette=PALETTE), icon_of((9, 4, dib(4, b"\x11", edge=9)))]
)
def test_any_broken_byte_gives_a_thumbnail_or_a_reason(whole: bytes) -> None:
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            try:
                make_thumbnail(io.BytesIO(content))
            except Undecodable as error:
                assert error.code in ("damaged", "too_expensive", "unsupported")  # noqa: PT017 - no error is correct as well
