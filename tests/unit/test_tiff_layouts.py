"""TIFFs of every sample layout are shown in the right colours or get the reason `unsupported`."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data.tiffs import (
    CMYK,
    COLOURS,
    GREY,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    tiff_of,
)
from worker.decoding.inside.images import load_codecs, make_thumbnail

pytestmark = pytest.mark.slow

MIDDLES = ((6, 4), (42, 4), (6, 28), (42, 28))
"""The x and y coordinates of one pixel in each quarter of the image."""

SUPPORTED = {
    "bilevel-white-is-0": Layout(photometric=WHITE_IS_ZERO, bits=1, samples=1),
    "grey-4-white-is-0": Layout(photometric=WHITE_IS_ZERO, bits=4, samples=1),
    "grey-8-white-is-0": Layout(photometric=WHITE_IS_ZERO, samples=1),
    "bilevel": Layout(photometric=GREY, bits=1, samples=1),
    "grey-2": Layout(photometric=GREY, bits=2, samples=1),
    "grey-4": Layout(photometric=GREY, bits=4, samples=1),
    "grey-8": Layout(photometric=GREY, samples=1),
    "grey-16": Layout(photometric=GREY, bits=16, samples=1),
    "grey-8-alpha": Layout(photometric=GREY, samples=2, extra=2),
    "rgb-8": Layout(photometric=RGB),
    "rgb-16": Layout(photometric=RGB, bits=16),
    "rgb-8-alpha": Layout(photometric=RGB, samples=4, extra=2),
    "rgb-8-premultiplied": Layout(photometric=RGB, samples=4, extra=1),
    "rgb-16-alpha": Layout(photometric=RGB, bits=16, samples=4, extra=2),
    "rgb-16-premultiplied": Layout(photometric=RGB, bits=16, samples=4, extra=1),
    "palette-1": Layout(photometric=PALETTE, bits=1, samples=1),
    "palette-2": Layout(photometric=PALETTE, bits=2, samples=1),
    "palette-4": Layout(photometric=PALETTE, bits=4, samples=1),
    "palette-8": Layout(photometric=PALETTE, samples=1),
    "palette-8-alpha": Layout(photometric=PALETTE, samples=2, extra=2),
    "cmyk-8": Layout(photometric=CMYK, samples=4),
    "cmyk-16": Layout(photometric=CMYK, bits=16, samples=4),
    **{
        f"ycbcr-{across}-{down}": Layout(photometric=YCBCR, subsampling=(across, down))
        for across, down in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 4), (1, 2))
    },
}
"""Layouts that get a thumbnail in every arrangement (see `arrangements`)."""

UNDECIDED = {
    "grey-16-white-is-0": Layout(photometric=WHITE_IS_ZERO, bits=16, samples=1),
    "grey-16-alpha": Layout(photometric=GREY, bits=16, samples=2, extra=2),
    "grey-32": Layout(photometric=GREY, bits=32, samples=1),
    "rgb-4": Layout(photometric=RGB, bits=4),
    "rgb-32": Layout(photometric=RGB, bits=32),
    "rgb-8-padded": Layout(photometric=RGB, samples=4, extra=0),
    "rgb-16-padded": Layout(photometric=RGB, bits=16, samples=4, extra=0),
    "palette-16": Layout(photometric=PALETTE, bits=16, samples=1),
}
"""Layouts that are `unsupported` in some arrangements, because Pillow cannot read these."""


@pytest.fixture(autouse=True)
def with_tiff() -> Iterator[None]:
    load_codecs({"tiff"})
    yield
    load_codecs()


def arrangements(layout: Layout) -> Iterator[Layout]:
    """Yield the layout in every arrangement of its bytes.

    The arrangements differ in byte order, BigTIFF, tiles or strips, planes, and compression.
    """
    for order, big, tiled, planar, rows, deflated in product(
        "<>", (False, True), (False, True), (False, True), (32, 5, 8), (False, True)
    ):
        if (tiled and rows != 32) or (planar and layout.samples == 1):
            continue
        # A subsampled image stores its pixels in blocks. So all samples must be in one plane, and
        # each strip must contain whole blocks.
        if layout.subsampling and (planar or rows == 5):
            continue
        yield Layout(
            photometric=layout.photometric,
            bits=layout.bits,
            samples=layout.samples,
            extra=layout.extra,
            subsampling=layout.subsampling,
            order=order,
            big=big,
            tiled=tiled,
            planar=planar,
            rows_per_strip=rows,
            deflated=deflated,
        )


def expected(layout: Layout) -> list[tuple[int, ...]]:
    """Return the colours of the four quarters, rounded as the layout stores them."""
    most = (1 << min(layout.bits, 8)) - 1
    colours: list[tuple[int, ...]] = []
    for number, colour in enumerate(COLOURS):
        grey = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
        match layout.photometric:
            case 0:
                values = [255 - ((255 - grey) * (most + 1) // 256) * 255 // most] * 3
            case 1:
                values = [(grey * (most + 1) // 256) * 255 // most] * 3
            case 3:
                values = list(COLOURS[number % (1 << layout.bits)])
            case _:
                values = [(each * (most + 1) // 256) * 255 // most for each in colour]
        colours.append(tuple(values))
    return colours


def shown(content: bytes) -> list[tuple[int, ...]]:
    """Return the colour in the middle of each quarter of a file's thumbnail."""
    made = make_thumbnail(io.BytesIO(content))
    assert made.reason is None
    image = Image.open(io.BytesIO(made.body)).convert("RGB")
    return [tuple(image.crop((x, y, x + 1, y + 1)).tobytes()) for x, y in MIDDLES]


def differs(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    pairs = zip(found, wanted, strict=True)
    return any(abs(a - b) > 6 for one, other in pairs for a, b in zip(one, other, strict=True))


@contextmanager
def suppress_unsupported() -> Iterator[None]:
    """Suppress the exception `Undecodable` with the code `unsupported`, but no other exception."""
    try:
        yield
    except Undecodable as error:
        if error.code != "unsupported":
            raise


def is_big_endian_bigtiff(layout: Layout) -> bool:
    return layout.big and layout.order == ">"


@pytest.mark.parametrize("name", SUPPORTED)
def test_row83_a_layout_is_shown_in_its_colours(name: str) -> None:
    for layout in arrangements(SUPPORTED[name]):
        content = tiff_of(layout)
        if is_big_endian_bigtiff(layout):
            with pytest.raises(Undecodable, match="unsupported"):
                make_thumbnail(io.BytesIO(content))
        else:
            assert not differs(shown(content), expected(layout)), layout


@pytest.mark.parametrize("name", UNDECIDED)
def test_row83_another_layout_is_shown_right_or_unsupported(name: str) -> None:
    for layout in arrangements(UNDECIDED[name]):
        with suppress_unsupported():
            assert not differs(shown(tiff_of(layout)), expected(layout)), layout


def test_row83_planes_of_ycbcr_are_unsupported() -> None:
    for tiled, deflated in product((False, True), repeat=2):
        layout = Layout(photometric=YCBCR, planar=True, tiled=tiled, deflated=deflated)
        with pytest.raises(Undecodable, match="unsupported"):
            make_thumbnail(io.BytesIO(tiff_of(layout)))
