"""The output of `attachments upload`: one line for each file, and the files' addresses."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from deploy.client.upload import Uploaded
from deploy.client.upload_report import addresses, line, table
from deploy.commands.lines import shorten
from shared.facts import Facts

URL = "http://127.0.0.1:8000/attachments/files/000/000/012/{}/photo.jpg?1776398568&s=" + "a" * 43
READY = Uploaded(
    file=Path("photos/a photo.jpg"),
    id="12",
    state="ready",
    facts=Facts(content_type="image/jpeg", size=3_479_000, width=12_000, height=9_000),
    url=URL.format("original"),
    thumb=URL.format("thumb"),
    seconds=0.4156,
)
DAMAGED = Uploaded(
    file=Path("写真" * 60 + ".jpg"),
    id="13",
    state="ready",
    facts=Facts(content_type="text/plain; charset=utf-8", size=999),
    url=URL.format("original"),
    seconds=901.5,
    reason={"code": "damaged", "detail": "The file is damaged."},
)
REFUSED = Uploaded(
    file=Path("big.iso"), reason={"code": "api_refused", "detail": "The API answered 422: size."}
)
ITEMS = [READY, DAMAGED, REFUSED]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_table_has_one_line_a_file_within_the_terminal(width: int) -> None:
    head, *rows = table(ITEMS, width)
    assert head.split() == ["id", "state", "reason", "size", "W×H", "seconds", "file"]
    assert [row.split()[:3] for row in rows] == [
        ["12", "ready", "-"],
        ["13", "ready", "damaged"],
        ["-", "-", "api_refused"],
    ]
    assert rows[0].endswith("3.5 MB  12000×9000     0.42  photos/a photo.jpg")
    assert rows[1].endswith(".jpg")
    assert all(cell_len(row) <= width for row in (head, *rows))


def test_the_name_keeps_its_room_where_reasons_are_long() -> None:
    long = Uploaded(
        file=Path("holiday/a photo of the sea.jpg"),
        id="123456789",
        state="processing",
        facts=Facts(size=999_900_000, width=12_000, height=12_000),
        seconds=901.25,
        reason={"code": "unreadable_answer", "detail": "."},
    )
    (head, row) = table([long], 80)
    assert "W×H" not in head
    assert cell_len(row) <= 80
    assert row.endswith("  999.9 MB   901.25  holiday/a…e sea.jpg")


def test_addresses_are_whole_and_alone_on_their_lines() -> None:
    sent = addresses(ITEMS)
    assert [each.strip() for each in sent] == [
        "12 photos/a photo.jpg",
        READY.url,
        READY.thumb,
        f"13 {DAMAGED.file}",
        "The file is damaged.",
        DAMAGED.url,
        "big.iso",
        "The API answered 422: size.",
    ]


def test_in_a_pipe_a_file_is_one_line_with_all_about_it() -> None:
    assert [line(item) for item in ITEMS] == [
        f"12  ready  -  3479000  12000×9000  0.42  image/jpeg  {READY.url}  {READY.thumb}"
        "  photos/a photo.jpg",
        "13  ready  damaged  999  -  901.50  text/plain;charset=utf-8"
        f"  {DAMAGED.url}  -  {DAMAGED.file}",
        "-  -  api_refused  -  -  0.00  -  -  -  big.iso: The API answered 422: size.",
    ]


TEXTS = st.text(max_size=40)


@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=50)
def test_a_line_stays_one_for_every_text_of_api_or_name(name: str, code: str, detail: str) -> None:
    sent: Any = code  # an API may send any text as the code
    item = Uploaded(file=Path(name), id=code, reason={"code": sent, "detail": detail}, url=detail)
    written = [line(item), *table([item], 80), *addresses([item])]
    assert all(each.isprintable() for each in written)
    assert len(line(item).split("  ")) >= 10


@given(st.text(alphabet="ab写é\U0001f600", max_size=60), st.integers(1, 30))
@settings(max_examples=100)
def test_a_shortened_text_is_no_wider_than_its_room(text: str, cells: int) -> None:
    short = shorten(text, cells)
    assert cell_len(short) <= cells
    assert short == text or "…" in short
