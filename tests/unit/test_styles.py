"""The thumbnails in a row: their keys, and which of them clients see."""

from dataclasses import replace

import pytest

from shared.attachments import Attachment
from shared.erasure import listings_of
from shared.styles import (
    Shown,
    Style,
    emptied,
    named_keys,
    read_styles,
    shown_thumbnails,
    write_styles,
)
from tests.support.attachment_rows import CHANGED, ROW, write_resource

FOLDER = "attachments/files/000/000/001"
THUMB = Style(name="img.png", edge=320, width=320, height=240, etag="e")
MEDIUM = Style(name="img.jpg", edge=1024, width=1024, height=768, etag="e")


def row_with(**changes: Style | str | bool | None) -> Attachment:
    """Return a ready row with these styles. Fields of the row may be changed too."""
    styles = {name: said for name, said in changes.items() if isinstance(said, Style)}
    more = {name: said for name, said in changes.items() if not isinstance(said, Style)}
    row = replace(
        ROW,
        state="ready",
        resized=True,
        thumbnail_name="img.png",
        etag="e",
        uploaded_at=CHANGED,
        processed_at=CHANGED.replace(year=2027),
        styles=write_styles(styles),
    )
    return replace(row, **more)  # type: ignore[arg-type]  # fields of the row


def test_read_styles_returns_the_styles_that_were_written() -> None:
    styles = {"thumb": THUMB, "medium": MEDIUM, "old": Style(), "skipped": Style(edge=9, etag="e")}
    assert read_styles(write_styles(styles)) == styles
    assert read_styles(None) == {}
    assert write_styles({}) is None


def test_members_of_a_later_release_are_ignored() -> None:
    assert read_styles('{"thumb": {"name": "a", "blur": 3}}') == {"thumb": Style(name="a")}


def test_stored_styles_are_shown_and_thumb_is_the_first() -> None:
    assert list(shown_thumbnails(row_with(medium=MEDIUM, thumb=THUMB)).items()) == [
        ("thumb", Shown(key=f"{FOLDER}/thumb/img.png", width=320, height=240)),
        ("medium", Shown(key=f"{FOLDER}/medium/img.jpg", width=1024, height=768)),
    ]


def test_a_thumbnail_of_an_earlier_release_is_shown_without_its_size() -> None:
    assert shown_thumbnails(row_with()) == {
        "thumb": Shown(key=f"{FOLDER}/thumb/img.png", width=None, height=None)
    }


@pytest.mark.parametrize(
    "medium",
    [
        pytest.param(Style(name="img.jpg", edge=1024), id="announced"),
        pytest.param(Style(edge=1024, etag="e"), id="too expensive"),
        pytest.param(Style(), id="removed"),
        pytest.param(replace(MEDIUM, etag="other"), id="of an earlier upload"),
    ],
)
def test_a_style_that_is_not_stored_is_not_shown(medium: Style) -> None:
    row = row_with(thumb=THUMB, medium=medium)
    assert set(shown_thumbnails(row)) == {"thumb"}
    assert set(named_keys(row)) == ({"thumb"} if medium.name is None else {"thumb", "medium"})


@pytest.mark.parametrize("change", [{"resized": False}, {"thumbnail_name": None}])
def test_without_a_current_thumbnail_no_style_is_shown(change: dict[str, bool | None]) -> None:
    row = row_with(thumb=THUMB, medium=MEDIUM, **change)
    assert shown_thumbnails(row) == {}
    assert write_resource(row)["meta"]["thumbs"] == {}
    assert named_keys(row)["medium"] == f"{FOLDER}/medium/img.jpg"


def test_a_thumb_that_an_earlier_release_made_again_has_no_size() -> None:
    row = row_with(thumb=THUMB, thumbnail_name="img.jpg")
    assert shown_thumbnails(row) == {
        "thumb": Shown(key=f"{FOLDER}/thumb/img.jpg", width=None, height=None)
    }


def test_the_resource_has_all_thumbnails_and_each_has_its_own_address() -> None:
    shown = write_resource(row_with(thumb=THUMB, medium=MEDIUM))
    thumbs = shown["meta"]["thumbs"]
    assert thumbs["thumb"]["url"] == shown["attributes"]["thumb"]
    assert (thumbs["medium"]["width"], thumbs["medium"]["height"]) == (1024, 768)
    # With a new edge, the style is made again from the same original. Its address must change.
    assert (
        f"/medium/img.jpg?{int(CHANGED.replace(year=2027).timestamp())}&"
        in (thumbs["medium"]["url"])
    )


def test_a_purge_removes_every_style_that_the_row_ever_had() -> None:
    row = row_with(thumb=THUMB, medium=MEDIUM, old=Style())
    original, *listings = listings_of(row)
    assert original.keys == {row.key}
    found = {each.prefix: (set(each.keys), set(each.current)) for each in listings}
    names = ("img.png", "img.jpg")
    assert found == {
        f"{FOLDER}/{style}/": (
            {f"{FOLDER}/{style}/{name}" for name in names},
            {f"{FOLDER}/{style}/{name}" for name in current},
        )
        for style, current in {"thumb": ["img.png"], "medium": ["img.jpg"], "old": []}.items()
    }


def test_emptied_styles_keep_their_names() -> None:
    assert emptied({"thumb": THUMB, "medium": MEDIUM}) == {"thumb": Style(), "medium": Style()}
