"""Thumbnails of PDFs show the first page, upright and on white. Some pages cannot be drawn."""

import io
import struct
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE, Thumbnail
from tests.data import images, odd_images, pdfs
from worker.decoding.inside import pdf

COLOURS = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)
WHITE, PINK = (255, 255, 255, 255), (255, 128, 128, 255)


def make(content: bytes) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail of a PDF, and return it with its opened image."""
    made = pdf.make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def close(image: Image.Image, wanted: list[tuple[int, ...]]) -> bool:
    """Return True if the four quadrants have these colours, within the accuracy of JPEG."""
    return all(
        abs(one - other) <= 6
        for found, pixel in zip(images.corners(image), wanted, strict=True)
        for one, other in zip(found, pixel, strict=True)
    )


def test_the_first_page_is_drawn_and_the_pages_are_counted() -> None:
    made, image = make(pdfs.plain(pages=7))
    assert made.facts.pages == 7
    assert (made.facts.width, made.facts.height, made.facts.carries_more) == (None, None, False)
    assert (made.content_type, made.extension, image.format) == ("image/jpeg", "jpg", "JPEG")
    assert image.size == (226, 320)
    assert close(image, COLOURS)


@pytest.mark.parametrize(
    ("turn", "places"),
    [
        (0, (0, 1, 2, 3)),
        (90, (2, 0, 3, 1)),
        (180, (3, 2, 1, 0)),
        (270, (1, 3, 0, 2)),
        (-90, (1, 3, 0, 2)),
        (450, (2, 0, 3, 1)),
    ],
)
def test_it_is_turned_by_the_pages_rotation(turn: int, places: tuple[int, ...]) -> None:
    _, image = make(pdfs.plain(entries=b"/Rotate %d" % turn))
    assert image.size == ((226, 320) if turn % 180 == 0 else (320, 226))
    assert close(image, [COLOURS[place] for place in places])


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ("0 0 1000000000 1000000000", (320, 320)),
        ("0 0 100000 1", (320, 1)),
        ("0 0 1 100000", (1, 320)),
        ("0 0 0.001 0.001", (1, 1)),
        ("0 0 72 72", (320, 320)),
        ("0 0 7.2 7.2", (32, 32)),
        ("-595 -842 0 0", (226, 320)),
        ("595 842 0 0", (226, 320)),
        # An empty media box counts as missing, so the page has the size of US Letter.
        ("0 0 0 0", (247, 320)),
        ("0 0 1e999 842", None),
        ("", None),
    ],
)
def test_a_page_of_any_size_gives_a_thumbnail(box: str, size: tuple[int, int] | None) -> None:
    made, image = make(pdfs.plain(box=box))
    assert made.facts.pages == 1
    assert size is None or image.size == size
    assert 1 <= min(image.size) <= max(image.size) <= THUMB_EDGE


def test_transparent_pages_are_drawn_on_white() -> None:
    _, image = make(pdfs.see_through())
    assert close(image, [WHITE, PINK, WHITE, PINK])


def test_a_filled_form_is_drawn_and_its_scripts_are_not_run() -> None:
    _, image = make(pdfs.with_form())
    assert close(image, [(0, 255, 0, 255)] * 4)


def test_text_is_legible_in_its_colour() -> None:
    _, image = make(pdfs.text())
    lines = image.convert("RGB").crop((25, 20, 150, 285))
    assert min(lines.convert("L").tobytes()) < 90
    assert max(red - green for red, green, _ in struct.iter_unpack("3B", lines.tobytes())) > 100
    # The lines of text stay separate: each dark row of pixels is between two lighter rows.
    means = [sum(lines.convert("L").crop((0, y, 125, y + 1)).tobytes()) / 125 for y in range(265)]
    turns = sum(
        one > other < another
        for one, other, another in zip(means, means[1:], means[2:], strict=False)
    )
    assert turns >= 40


def test_no_metadata_reaches_the_thumbnail() -> None:
    body = make(pdfs.plain())[0].body
    assert odd_images.jpeg_segments(body) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(pdfs.encrypted(b"secret"), "encrypted", id="row85-password"),
        pytest.param(pdfs.locked_unknown(), "encrypted", id="row85-unknown-lock"),
        pytest.param(pdfs.looping(), "damaged", id="row85-looping"),
        pytest.param(pdfs.without_pages(), "damaged", id="row85-no-pages"),
        pytest.param(b"", "damaged", id="row85-empty"),
        pytest.param(b"%PDF-1.7\n", "damaged", id="row85-header-only"),
        pytest.param(pdfs.plain()[:100], "damaged", id="row85-cut"),
        pytest.param(images.encode(images.quadrants(), "JPEG"), "damaged", id="row85-jpeg"),
    ],
)
def test_row85_a_page_that_cannot_be_drawn_has_a_reason(content: bytes, code: str) -> None:
    with pytest.raises(Undecodable) as rejected:
        make(content)
    assert rejected.value.code == code


def test_row85_a_document_that_opens_without_a_password_is_drawn() -> None:
    assert close(make(pdfs.encrypted(b""))[1], COLOURS)


def test_row85_a_lost_table_is_made_good() -> None:
    body = pdfs.plain().replace(b"xref\n0", b"gone\n0").replace(b"startxref", b"startgone")
    assert close(make(body)[1], COLOURS)


def test_row85_a_fault_does_not_affect_the_next_file() -> None:
    for content, code in (
        (pdfs.encrypted(b"secret"), "encrypted"),
        (pdfs.without_pages(), "damaged"),
    ):
        with pytest.raises(Undecodable, match=code):
            make(content)


@pytest.mark.parametrize("sixteenth", range(1, 16))
def test_row85_wherever_it_is_cut_it_is_a_page_or_a_rejection(sixteenth: int) -> None:
    whole = pdfs.text()
    with suppress(Undecodable):
        made, image = make(whole[: len(whole) * sixteenth // 16])
        assert made.facts.pages == 1
        assert max(image.size) <= THUMB_EDGE


def test_only_requested_bytes_are_read() -> None:
    class Counting(io.BytesIO):
        most = 0

        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            self.most = max(self.most, count)
            return count

        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("the whole was read")

    body = pdfs.plain()
    at = body.index(b"xref")
    ballast = 3_000_000
    moved = body[:at] + bytes(ballast) + body[at:]
    moved = moved.replace(b"startxref\n%d" % at, b"startxref\n%d" % (at + ballast))
    file = Counting(moved)
    assert pdf.make_thumbnail(file).facts.pages == 1
    assert 0 < file.most < 1_000_000


def test_warming_up_can_be_repeated() -> None:
    pdf.warm_up()
    pdf.warm_up()


def test_the_same_page_gives_the_same_bytes() -> None:
    assert make(pdfs.text())[0].body == make(pdfs.text())[0].body
