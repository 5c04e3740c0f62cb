"""Values of an attachment's JSON:API resource: reasons, measured values, times, addresses
of files.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.documents import Documents
from shared.states import State
from tests.support.attachment_rows import CHANGED, ROW, make_link_settings, write_resource


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        pytest.param(
            "rejected",
            "too_large",
            {"code": "too_large", "detail": "The object is larger than an upload may be."},
            id="rejected",
        ),
        pytest.param(
            "failed",
            "missing",
            {"code": "missing", "detail": "The object is no longer in the store."},
            id="failed",
        ),
        pytest.param("uploaded", "store_unavailable", None, id="between two attempts"),
        pytest.param("ready", None, None, id="ready"),
        pytest.param(
            "ready",
            "encrypted",
            {
                "code": "encrypted",
                "detail": "The document is encrypted, so it has no thumbnail.",
            },
            id="ready without a thumbnail",
        ),
        pytest.param(
            "failed",
            "of-an-older-release",
            {"code": "of-an-older-release", "detail": "of-an-older-release"},
            id="unknown",
        ),
    ],
)
def test_a_reason_is_shown_with_its_sentence_once_it_is_final(
    state: State, reason: Any, shown: dict[str, str] | None
) -> None:
    assert write_resource(replace(ROW, state=state, reason=reason))["meta"]["reason"] == shown


def test_measured_values_are_in_meta() -> None:
    row = replace(
        ROW,
        state="ready",
        width=800,
        height=600,
        pages=1,
        checksum_sha256="ab" * 32,
        processed_at=CHANGED,
    )

    assert write_resource(row)["meta"] == {
        "state": "ready",
        "reason": None,
        "width": 800,
        "height": 600,
        "pages": 1,
        "checksum_sha256": "ab" * 32,
        "duration": None,
        "thumbhash": None,
        "thumbs": {},
        "processed_at": "2026-04-17T04:02:48.000+00:00",
    }


@pytest.mark.parametrize(
    ("zone", "moment", "written"),
    [
        pytest.param("UTC", CHANGED, "2026-04-17T04:02:48.000+00:00", id="UTC"),
        pytest.param("Europe/Berlin", CHANGED, "2026-04-17T06:02:48.000+02:00", id="summer"),
        pytest.param(
            "Europe/Berlin",
            datetime(2026, 1, 17, 4, 2, 48, 589_999, tzinfo=UTC),
            "2026-01-17T05:02:48.589+01:00",
            id="winter, milliseconds cut off",
        ),
        pytest.param(
            "America/St_Johns",
            datetime(2026, 1, 1, tzinfo=UTC),
            "2025-12-31T20:30:00.000-03:30",
            id="half an hour, the year before",
        ),
    ],
)
def test_times_have_milliseconds_and_the_offset_of_the_zone(
    zone: str, moment: datetime, written: str
) -> None:
    assert Documents(make_link_settings(time_zone=zone)).time(moment) == written


@pytest.mark.parametrize(
    ("temp_url", "uploaded_at", "shown"),
    [
        pytest.param(None, None, None, id="before the upload"),
        pytest.param(None, CHANGED, "url", id="after it"),
        pytest.param("https://x.example/a", CHANGED, "https://x.example/a", id="as PATCHed"),
        pytest.param(
            "https://x.example/a?X-Amz-Signature=s", CHANGED, "https://x.example/a", id="signed"
        ),
    ],
)
def test_temp_url_is_the_patched_value_or_the_url(
    temp_url: str | None, uploaded_at: datetime | None, shown: str | None
) -> None:
    attributes = write_resource(replace(ROW, temp_url=temp_url, uploaded_at=uploaded_at))[
        "attributes"
    ]

    assert attributes["temp_url"] == (attributes["url"] if shown == "url" else shown)


@pytest.mark.parametrize(
    ("resized", "thumbnail_name", "shown"),
    [
        pytest.param(True, "img.png", True, id="there is one"),
        pytest.param(False, "img.png", False, id="one of an upload that has been replaced"),
        pytest.param(False, None, False, id="none"),
    ],
)
def test_thumb_is_null_until_there_is_one(
    resized: bool, thumbnail_name: str | None, shown: bool
) -> None:
    row = replace(ROW, uploaded_at=CHANGED, resized=resized, thumbnail_name=thumbnail_name)

    thumb = write_resource(row)["attributes"]["thumb"]

    assert (thumb is not None) is shown
    if shown:
        assert urlsplit(thumb).path == "/attachments/files/000/000/001/thumb/img.png"


# The next tests are about links.


def test_public_addresses_are_exactly_the_contracts() -> None:
    made = make_link_settings(files_public="true", files_url="https://files-test.example")
    row = replace(ROW, uploaded_at=CHANGED, resized=True, thumbnail_name="img.png")

    attributes = write_resource(row, made=made)["attributes"]

    base = "https://files-test.example/attachments/files/000/000/001"
    assert attributes["url"] == f"{base}/original/img.png?1776398568"
    assert attributes["thumb"] == f"{base}/thumb/img.png?1776398568"
    assert attributes["temp_url"] == f"{base}/original/img.png?1776398568"
