"""Events that are not about an attachment are ignored and counted, and have no effect."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from shared.keys import original_key, thumbnail_key
from tests.support.bad_events import IGNORED, every
from tests.support.dialects import DIALECTS, Dialect, sample
from tests.support.events import RECORDED, Target, filer, new_row, post, send
from tests.support.service import Service
from tests.support.stack import BUCKET, EVENTS_TOKEN

UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}
NOTHING = {**UNREADABLE, "unreadable": 0}

TEST_EVENT = sample("aws-test-event")

MESSAGES: dict[str, tuple[Any, dict[str, int]]] = {
    "row50-test-event": (TEST_EVENT, IGNORED),
    "row50-test-event-of-versitygw": (sample("versitygw-test-event"), IGNORED),
    "row50-test-event-in-sns": (
        {**sample("sns-v2"), "Message": json.dumps(TEST_EVENT)},
        IGNORED,
    ),
    "row50-form-upload-of-versitygw": (sample("versitygw-form"), IGNORED),
    "row50-test-event-records-null": ({**TEST_EVENT, "Records": None}, IGNORED),
    "row50-test-event-records-number": ({**TEST_EVENT, "Records": 5}, IGNORED),
    "row50-no-records": ({}, UNREADABLE),
    "row50-no-records-in-sns": ({**sample("sns-v2"), "Message": "{}"}, UNREADABLE),
    "row50-records-null": ({"Records": None}, UNREADABLE),
    "row50-records-object": ({"Records": {}}, UNREADABLE),
    "row50-null": (None, UNREADABLE),
    "row50-array": ([], UNREADABLE),
    "row50-number": (1, UNREADABLE),
    "row50-filer-without-key": ({"event_type": "create", "message": {}}, UNREADABLE),
    "row50-eventbridge-without-detail": (
        {"source": "aws.s3", "detail-type": "Object Created"},
        UNREADABLE,
    ),
    "row51-empty-records": ({"Records": []}, NOTHING),
    "row51-empty-records-of-minio": ({"EventName": "", "Key": "", "Records": []}, NOTHING),
    "row51-empty-records-in-sns": (
        {**sample("sns-v2"), "Message": '{"Records":[]}'},
        NOTHING,
    ),
    "row51-1000-bad-records": ({"Records": [None] * 1000}, {**UNREADABLE, "unreadable": 1000}),
}


@pytest.mark.parametrize(("document", "counts"), MESSAGES.values(), ids=MESSAGES)
async def test_a_message_without_an_object_is_counted(
    untouched: Target, document: Any, counts: dict[str, int]
) -> None:
    answer = await send(untouched.service, json.dumps(document).encode())
    assert (answer.status, answer.document["meta"]) == (200, counts)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="row50-empty-body"),
        pytest.param(b"Records", {}, id="row50-no-json"),
        pytest.param(b'{"Records":[', {}, id="row50-cut-short"),
        pytest.param(b"\xff\xfe", {}, id="row50-no-utf-8"),
        pytest.param(b"[" * 500_000, {}, id="row50-500000-deep"),
        pytest.param(b'{"Records":[NaN]}', {}, id="row50-nan"),
        pytest.param(b'{"Records":["\\ud800"]}', {}, id="row50-lone-surrogate"),
        pytest.param(b"no gzip", {"Content-Encoding": "gzip"}, id="row50-no-gzip"),
        pytest.param(b"{}", {"Content-Encoding": "klingon"}, id="row50-unknown-encoding"),
    ],
)
async def test_unreadable_messages_are_accepted_so_that_they_block_nothing(
    untouched: Target, body: bytes, headers: Mapping[str, str]
) -> None:
    authorization = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    answer = await send(untouched.service, body, {**authorization, **headers})
    assert (answer.status, answer.document["meta"]) == (200, UNREADABLE)


@every(52)
@pytest.mark.parametrize("bucket", ["other", BUCKET.upper(), f"{BUCKET}x", "\0", " "])
async def test_another_bucket_is_ignored_and_counted(
    untouched: Target, dialect: Dialect, bucket: str
) -> None:
    before = await ignored_events(untouched.service, dialect)
    for removed in (False, True):
        sent = dialect.make_event(bucket, untouched.key, removed=removed, etag="e1")
        assert await post(untouched.service, dialect, sent) == IGNORED
    assert await ignored_events(untouched.service, dialect) == before + 2


async def ignored_events(service: Service, dialect: Dialect) -> float:
    """Return the metric that counts the ignored events of a dialect."""
    text = service.metrics()
    name = f'attachments_events_total{{dialect="{dialect.label}",effect="ignored"}} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


def strange_keys(key: str) -> dict[str, str]:
    """Return keys that are similar to the key of an original, each by its description."""
    folder, _, file_name = key.rpartition("/original/")
    return {
        "row53-other-prefix": f"other/{key}",
        "row53-leading-slash": f"/{key}",
        "row53-trailing-slash": f"{key}/",
        "row53-folder": key.rpartition("/")[0],
        "row53-other-name": key.replace("a.png", "b.png"),
        "row53-upper-case": key.replace("a.png", "A.PNG"),
        "row53-beyond-bigint": "attachments/files/" + "999/" * 7 + "original/a.png",
        "row53-unknown-id": f"{folder[:-3]}999/original/{file_name}",
        "row53-empty-name": key.replace("a.png", ""),
        "row53-nul": f"{key}\0",
        "row53-climbing": key.replace("/original/", "/original/../original/"),
        "row53-arabic-digits": key.replace("0", "٠"),
        "row53-upload-part": f".uploads/0a1b_1/{key}",
        "row53-5000-characters": key + "a" * 5000,
        "row54-encoded-already": quote(key, safe=""),
        "row54-encoded-twice": quote(quote(key, safe=""), safe=""),
        "row54-plus": key.replace("a.png", "+a.png"),
        "row54-space": key.replace("a.png", " a.png"),
        "row54-half-escape": key + "%2",
        "row55-thumbnail": thumbnail_key(key),
        "row55-thumbnail-of-other-format": thumbnail_key(key, "webp"),
        "row55-other-style": key.replace("/original/", "/small/"),
        "row55-below-the-original": f"{key}/a.png",
    }


STRANGE = strange_keys(original_key(1, "a.png"))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", STRANGE)
async def test_a_key_that_is_no_attachments_original_has_no_effect(
    untouched: Target, dialect: Dialect, case: str
) -> None:
    key = strange_keys(untouched.key)[case]
    for removed in (False, True):
        sent = dialect.make_event(BUCKET, key, removed=removed, etag="e1", sequencer="0A")
        meta = await post(untouched.service, dialect, sent)
        assert (meta["recorded"], meta["unreadable"]) == (0, 0)
        assert meta["ignored"] + meta["no_effect"] == 1


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda key: filer(key, new_entry={"is_directory": True}), id="row53-folder"),
        pytest.param(lambda key: filer(key, "exist"), id="row53-unknown-kind"),
        pytest.param(
            lambda key: filer(key).replace(b"/buckets/", b"/buckets/.system/"), id="row52-system"
        ),
    ],
)
async def test_other_messages_of_the_filer_are_ignored(untouched: Target, event: Any) -> None:
    answer = await send(untouched.service, event(untouched.key))
    assert (answer.status, answer.document["meta"]) == (200, IGNORED)


FORM = ("aws", "sns", "minio", "rustfs")
BY_PATH = ("versitygw", "versitygw-bare")

ENCODINGS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "row54-plain": (str, (*FORM, *BY_PATH, "ceph", "eventbridge", "seaweedfs")),
    "row54-slashes-encoded": (quote_plus, (*FORM, *BY_PATH)),
    "row54-lower-case-escapes": (lambda key: quote_plus(key).lower(), (*FORM, *BY_PATH)),
    "row54-needless-escapes": (lambda key: key.replace(".", "%2E"), (*FORM, *BY_PATH)),
    "row54-twice": (lambda key: quote_plus(quote_plus(key)), ()),
    "row54-plus-for-nothing": (lambda key: key.replace("a.png", "+a.png"), ()),
    "row54-no-utf-8": (lambda key: key.replace("a.png", "%ffa.png"), ()),
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", ENCODINGS)
async def test_a_key_is_decoded_once_by_its_dialects_rule(
    shared: Service, dialect: Dialect, case: str
) -> None:
    encode, understood_by = ENCODINGS[case]
    row = await new_row(shared)
    meta = await post(shared, dialect, dialect.make_event(BUCKET, encode(row.key), encoded=True))
    assert meta == (RECORDED if dialect.name in understood_by else IGNORED)


@every(55)
async def test_our_own_thumbnail_starts_nothing(working: Service, dialect: Dialect) -> None:
    attachment_id = await working.client.upload(b"GIF89a no image", "a.gif")
    await working.client.settled(attachment_id)
    before = await working.row(attachment_id)
    sent = dialect.make_event(BUCKET, thumbnail_key(before.key), etag="e9", sequencer="FF")
    assert await post(working, dialect, sent) == IGNORED
    await asyncio.sleep(0.2)
    assert await working.row(attachment_id) == before
