"""Colours, orientation and codecs of AVIF and HEIC are those of the primary picture."""

import io
import struct
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image

from tests.data import images
from tests.data.pieces import box
from worker.decoding.inside import heif
from worker.decoding.inside.colour_spaces import by_code_points
from worker.decoding.inside.images import load_codecs, make_thumbnail

P3, BT2020 = (12, 13, 6), (9, 16, 9)


def colours(points: tuple[int, int, int]) -> bytes:
    return box(b"colr", b"nclx" + struct.pack(">HHHB", *points, 0x80))


def description(
    properties: Sequence[bytes],
    owned: dict[int, list[int]],
    *,
    primary: int = 2,
    sources: dict[int, int] | None = None,
    wide: bool = False,
) -> bytes:
    """Return the content of a `meta` box.

    `owned` are the numbers of each item's properties, and `sources` the first source of each
    derived item. The format allows two widths for numbers; if `wide` is true, the larger is used.
    """
    item, number = (">I", ">H") if wide else (">H", ">B")
    head = bytes([wide, 0, 0, wide])
    entries = b"".join(
        struct.pack(item, one)
        + bytes([len(numbers)])
        + b"".join(struct.pack(number, each) for each in numbers)
        for one, numbers in owned.items()
    )
    references = b"".join(
        box(b"dimg", struct.pack(item, one) + b"\0\1" + struct.pack(item, source))
        for one, source in (sources or {}).items()
    )
    associations = box(b"ipma", head + struct.pack(">I", len(owned)) + entries)
    return (
        box(b"pitm", head + struct.pack(item, primary))
        + box(b"iref", head + references)
        + box(b"iprp", box(b"ipco", b"".join(properties)) + associations)
    )


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("owned", "sources", "wanted"),
    [
        pytest.param({1: [1], 2: [2, 3]}, {}, P3, id="of-the-primary-picture"),
        pytest.param({1: [1], 2: [2]}, {}, None, id="of-another-picture-alone"),
        pytest.param({1: [2, 3], 2: [2], 3: [1]}, {2: 1}, P3, id="of-the-source"),
        pytest.param({1: [1], 2: [3]}, {2: 1}, P3, id="before-those-of-the-source"),
        pytest.param({2: [9]}, {}, None, id="unknown-number"),
        pytest.param({2: []}, {2: 2}, None, id="derived-from-itself"),
        pytest.param({}, {}, None, id="no-properties"),
    ],
)
def test_row80_code_points_are_those_of_the_primary_picture(
    owned: dict[int, list[int]],
    sources: dict[int, int],
    wanted: tuple[int, int, int] | None,
    *,
    wide: bool,
) -> None:
    properties = [colours(BT2020), box(b"ispe", bytes(12)), colours(P3)]
    meta = description(properties, owned, sources=sources, wide=wide)
    space = None if wanted is None else by_code_points(*wanted[:2], video_gamma=None)
    assert heif.colour_space(meta) == space
    for end in range(len(meta)):
        heif.colour_space(meta[:end])
        heif.is_exact(meta[:end])


@pytest.mark.parametrize(("matrix", "exact"), [(0, True), (1, False), (6, False), (16, True)])
def test_a_picture_in_rgb_is_exact(matrix: int, *, exact: bool) -> None:
    assert heif.is_exact(description([colours((1, 13, matrix))], {2: [1]})) is exact


@pytest.fixture
def more() -> Iterator[None]:
    load_codecs({"avif", "heic"})
    yield
    load_codecs()


@pytest.mark.slow
@pytest.mark.usefixtures("more")
def test_a_small_lossless_heic_keeps_every_pixel() -> None:
    source = images.noise(90, 60).quantize(200).convert("RGB")
    content = images.encode(source, "HEIF", quality=-1, matrix_coefficients=0, chroma=444)
    made = make_thumbnail(io.BytesIO(content))
    assert made.content_type == "image/png"
    assert Image.open(io.BytesIO(made.body)).tobytes() == source.tobytes()


@pytest.mark.slow
@pytest.mark.usefixtures("more")
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_only_boxes_turn_a_picture(kind: str) -> None:
    """Browsers ignore the orientation in Exif data of these formats."""
    content = images.oriented(6, kind, width=600, height=400)
    at = content.index(b"irot") + 4  # the box contains only the number of quarter turns
    made = make_thumbnail(io.BytesIO(content))
    assert (made.facts.width, made.facts.height) == (600, 400)
    made = make_thumbnail(io.BytesIO(content[:at] + b"\0" + content[at + 1 :]))
    assert (made.facts.width, made.facts.height) == (400, 600)
