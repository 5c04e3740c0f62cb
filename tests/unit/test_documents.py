"""The attachment as a resource, and the addresses of its files."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.attachments import Attachment
from shared.documents import RELATIONSHIPS, Documents
from shared.links import Links
from shared.settings import Settings
from shared.states import State
from tests.support.service import make_settings

ORIGIN = "http://api.example"
KEY = "attachments/files/000/000/001/original/img.png"
CHANGED = datetime.fromtimestamp(1_776_398_568, UTC)
NOW = datetime(2026, 4, 20, tzinfo=UTC)
RELATED = [name for name in RELATIONSHIPS if name != "creator"]


def settings(**changes: str) -> Settings:
    """Make settings by lower-case name."""
    required = {
        "database_url": "postgresql://127.0.0.1/attachments",
        "broker_url": "redis://127.0.0.1",
        "files_secret": "files-secret-of-the-tests",
        "s3_bucket": "our-bucket",
    }
    return make_settings(
        {f"ATTACHMENTS_{name.upper()}": value for name, value in {**required, **changes}.items()}
    )


ROW = Attachment(
    id=1,
    organization_id=14,
    creator_id=None,
    bucket="our-bucket",
    name="img.png",
    file_name="img.png",
    thumbnail_name=None,
    attachable_type="comment",
    attachable_id=None,
    attachment_type=None,
    message_id=None,
    external_id=None,
    temp_url=None,
    content_type=None,
    size=None,
    width=None,
    height=None,
    pages=None,
    checksum_sha256=None,
    state="pending",
    reason=None,
    resized=False,
    revision=0,
    claimed_revision=0,
    attempt=0,
    due_at=None,
    etag=None,
    version_id=None,
    sequencer=None,
    created_at=datetime(2026, 4, 17, 4, 2, 48, 589_999, tzinfo=UTC),
    policy_expires_at=datetime(2026, 4, 17, 5, 2, 48, tzinfo=UTC),
    uploaded_at=None,
    processed_at=None,
    deleted_at=None,
)


def resource(row: Attachment, *, made: Settings | None = None, **asked: Any) -> dict[str, Any]:
    """Write a row as a resource."""
    return Documents(made or settings()).resource(row, origin=ORIGIN, now=NOW, **asked)


def test_a_new_attachment_is_written_as_the_contract_shows_it() -> None:
    expected = {
        "id": "1",
        "type": "attachments",
        "attributes": {
            "name": "img.png",
            "content_type": None,
            "size": None,
            "url": f"{ORIGIN}/{KEY}",
            "thumb": None,
            "temp_url": None,
            "resized": False,
            "created_at": "2026-04-17T04:02:48.589+00:00",
            "deleted_at": None,
            "attachment_type": None,
            "message_id": None,
            "external_id": None,
            "attachable_type": "comment",
        },
        "relationships": {
            "organization": {"data": {"type": "organizations", "id": "14"}},
            "creator": {"meta": {"included": False}},
            "invoice": {"meta": {"included": False}},
            "purchase_order": {"meta": {"included": False}},
            "bill": {"meta": {"included": False}},
            "email": {"meta": {"included": False}},
            "page": {"meta": {"included": False}},
            "expense": {"meta": {"included": False}},
            "comment": {"meta": {"included": False}},
            "task": {"meta": {"included": False}},
            "document_style": {"meta": {"included": False}},
            "document_type": {"meta": {"included": False}},
            "deal": {"meta": {"included": False}},
        },
        "meta": {
            "state": "pending",
            "reason": None,
            "width": None,
            "height": None,
            "pages": None,
            "checksum_sha256": None,
            "processed_at": None,
        },
    }

    assert json.dumps(resource(ROW)) == json.dumps(expected)


@pytest.mark.parametrize("name", RELATED)
def test_the_attachable_is_the_data_of_its_relationship(name: str) -> None:
    row = replace(ROW, attachable_type=name, attachable_id=2**63 - 1)

    relationships = resource(row, include=(name,))["relationships"]

    assert relationships.pop(name) == {
        "data": {"type": RELATIONSHIPS[name], "id": "9223372036854775807"}
    }
    assert relationships.pop("organization") == {"data": {"type": "organizations", "id": "14"}}
    assert all(value == {"meta": {"included": False}} for value in relationships.values())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(ROW, "comment", id="no id yet"),
        pytest.param(replace(ROW, attachable_id=5), "task", id="of another type"),
        pytest.param(replace(ROW, attachable_type="widget", attachable_id=5), "deal", id="widget"),
        pytest.param(ROW, "creator", id="a token without a person"),
    ],
)
def test_a_named_relationship_to_nothing_is_null(row: Attachment, name: str) -> None:
    assert resource(row, include=(name,))["relationships"][name] == {"data": None}


def test_the_creator_is_the_person_of_the_token() -> None:
    row = replace(ROW, creator_id=7)

    assert resource(row, include=("creator",))["relationships"]["creator"] == {
        "data": {"type": "people", "id": "7"}
    }


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
    assert resource(replace(ROW, state=state, reason=reason))["meta"]["reason"] == shown


def test_what_was_measured_is_in_meta() -> None:
    row = replace(
        ROW,
        state="ready",
        width=800,
        height=600,
        pages=1,
        checksum_sha256="ab" * 32,
        processed_at=CHANGED,
    )

    assert resource(row)["meta"] == {
        "state": "ready",
        "reason": None,
        "width": 800,
        "height": 600,
        "pages": 1,
        "checksum_sha256": "ab" * 32,
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
    assert Documents(settings(time_zone=zone)).time(moment) == written


def test_a_fieldset_keeps_attributes_and_relationships_of_those_names() -> None:
    shown = resource(ROW, fieldset={"size", "comment", "no_such_field"}, include=("comment",))

    assert shown == {
        "id": "1",
        "type": "attachments",
        "attributes": {"size": None},
        "relationships": {"comment": {"data": None}},
        "meta": resource(ROW)["meta"],
    }


def test_a_fieldset_of_attributes_alone_leaves_no_empty_relationships() -> None:
    assert "relationships" not in resource(ROW, fieldset={"name"})


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
def test_temp_url_is_what_was_patched_else_the_url(
    temp_url: str | None, uploaded_at: datetime | None, shown: str | None
) -> None:
    attributes = resource(replace(ROW, temp_url=temp_url, uploaded_at=uploaded_at))["attributes"]

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

    thumb = resource(row)["attributes"]["thumb"]

    assert (thumb is not None) is shown
    if shown:
        assert urlsplit(thumb).path == "/attachments/files/000/000/001/thumb/img.png"


# links


def test_public_addresses_are_exactly_the_contracts() -> None:
    made = settings(files_public="true", files_url="https://files-test.example")
    row = replace(ROW, uploaded_at=CHANGED, resized=True, thumbnail_name="img.png")

    attributes = resource(row, made=made)["attributes"]

    base = "https://files-test.example/attachments/files/000/000/001"
    assert attributes["url"] == f"{base}/original/img.png?1776398568"
    assert attributes["thumb"] == f"{base}/thumb/img.png?1776398568"
    assert attributes["temp_url"] == f"{base}/original/img.png?1776398568"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="signed"),
        pytest.param({"files_ttl": "3600"}, id="signed with an end"),
        pytest.param({"files_public": "true", "files_url": "https://f.example"}, id="public"),
    ],
)
def test_before_an_upload_an_address_has_no_query(changes: dict[str, str]) -> None:
    url = Links(settings(**changes)).url(KEY, None, NOW, ORIGIN)

    assert url == f"{changes.get('files_url', ORIGIN)}/{KEY}"


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        pytest.param({}, ORIGIN, id="as the request names it"),
        pytest.param({"api_url": "https://a.example"}, "https://a.example", id="the API's address"),
        pytest.param(
            {"api_url": "https://a.example", "files_url": "https://f.example/x"},
            "https://f.example/x",
            id="the files' address",
        ),
    ],
)
def test_files_are_served_at_their_address_else_by_the_api(
    changes: dict[str, str], base: str
) -> None:
    assert Links(settings(**changes)).url(KEY, None, NOW, ORIGIN) == f"{base}/{KEY}"


def query(url: str) -> tuple[str, str, str]:
    """Take an address apart: time stamp, end, signature."""
    stamp, *rest = urlsplit(url).query.split("&")
    given = dict(item.split("=", 1) for item in rest)
    return stamp, given.get("e", ""), given["s"]


def test_a_signed_address_is_stable_so_that_browsers_can_cache_it() -> None:
    links = Links(settings())

    url = links.url(KEY, CHANGED, NOW, ORIGIN)

    assert url == links.url(KEY, CHANGED, NOW + timedelta(days=365), ORIGIN)
    assert url.startswith(f"{ORIGIN}/{KEY}?1776398568&s=")
    assert links.admits(KEY, *query(url), NOW + timedelta(days=365))


def test_an_address_with_a_lifetime_opens_until_its_end_and_not_after() -> None:
    links = Links(settings(files_ttl="3600"))
    stamp, ends, signature = query(links.url(KEY, CHANGED, NOW, ORIGIN))
    end = datetime.fromtimestamp(int(ends), UTC)

    assert links.admits(KEY, stamp, ends, signature, NOW)
    assert links.admits(KEY, stamp, ends, signature, end - timedelta(milliseconds=1))
    assert not links.admits(KEY, stamp, ends, signature, end)


@pytest.mark.parametrize("second", [0, 1, 1800, 3599])
def test_an_address_with_a_lifetime_lives_for_one_to_two_of_them(second: int) -> None:
    now = NOW + timedelta(seconds=second)

    _, ends, _ = query(Links(settings(files_ttl="3600")).url(KEY, CHANGED, now, ORIGIN))

    assert 3600 < int(ends) - now.timestamp() <= 7200


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"key": KEY.replace("001", "002")}, id="another key"),
        pytest.param({"key": KEY.replace("original", "thumb")}, id="another style"),
        pytest.param({"stamp": "1776398569"}, id="another time stamp"),
        pytest.param({"ends": "99999999999"}, id="a later end"),
        pytest.param({"ends": ""}, id="no end"),
        pytest.param({"signature": ""}, id="no signature"),
        pytest.param({"signature": "A" * 24}, id="another signature"),
        pytest.param({"signature": "\udcff"}, id="a signature of a lone surrogate"),
    ],
)
def test_an_altered_address_is_not_admitted(change: dict[str, str]) -> None:
    links = Links(settings(files_ttl="3600"))
    stamp, ends, signature = query(links.url(KEY, CHANGED, NOW, ORIGIN))
    given = {"key": KEY, "stamp": stamp, "ends": ends, "signature": signature}

    assert links.admits(**given, now=NOW)
    assert not links.admits(**{**given, **change}, now=NOW)


def test_an_address_signed_with_another_secret_is_not_admitted() -> None:
    url = Links(settings(files_secret="another-secret-of-the-tests")).url(KEY, CHANGED, NOW, ORIGIN)

    assert not Links(settings()).admits(KEY, *query(url), NOW)


def test_while_a_secret_is_replaced_links_of_both_open_and_the_new_one_signs() -> None:
    old, new = "the-former-secret-of-the-tests", "the-latter-secret-of-the-tests"
    before = Links(settings(files_secret=old))
    during = Links(settings(files_secret=new, files_secret_previous=old))
    after = Links(settings(files_secret=new))
    given, given_now = (links.url(KEY, CHANGED, NOW, ORIGIN) for links in (before, during))

    assert given_now == after.url(KEY, CHANGED, NOW, ORIGIN) != given
    stages = (before, during, after)
    assert [each.admits(KEY, *query(given), NOW) for each in stages] == [True, True, False]
    assert [each.admits(KEY, *query(given_now), NOW) for each in stages] == [False, True, True]
    assert not during.admits(KEY, "1776398568", "", "A" * 24, NOW)


def test_a_secret_may_hold_commas() -> None:
    links = Links(settings(files_secret="the-first-secret-1,the-second-secret-2"))
    url = links.url(KEY, CHANGED, NOW, ORIGIN)

    assert links.admits(KEY, *query(url), NOW)
    for part in ("the-first-secret-1", "the-second-secret-2"):
        assert not Links(settings(files_secret=part)).admits(KEY, *query(url), NOW)


def test_without_an_origin_addresses_are_relative_to_the_host() -> None:
    assert Links(settings()).url(KEY, None, NOW, "") == f"/{KEY}"
    made = settings(files_url="https://f.example")
    assert Links(made).url(KEY, None, NOW, "") == f"https://f.example/{KEY}"
