"""Bad events, by the rows of the bad-input matrix: refused or counted, and never believed."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.attachments import Attachment
from shared.keys import thumbnail_key
from tests.conftest import clone_database
from tests.integration.test_events import (
    EVENTS,
    NO_EFFECT,
    RECORDED,
    REMOVED,
    basic,
    filer,
    message,
    new_row,
    record,
    send,
    tell,
)
from tests.service import Service, running_service
from tests.stack import BUCKET, EVENTS_TOKEN, Stack

MIB = 1024 * 1024
IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}
UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An API that holds one attachment for which everybody waits."""

    service: Service
    row: Attachment

    @property
    def key(self) -> str:
        """The key of its original."""
        return self.row.key

    async def rows(self) -> list[str]:
        """Read everything that is stored."""
        found = await self.service.database.fetch("SELECT a::text FROM attachments AS a ORDER BY 1")
        return [row[0] for row in found]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """One API for the whole module: nothing in it has an effect."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield Target(service=service, row=await new_row(service))


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """The same, and proof that the test stored and changed nothing."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


# -- refused: rows 48, 49 -----------------------------------------------------------------------

CREDENTIALS: dict[str, tuple[Mapping[str, str], str]] = {
    "row48-none": ({}, EVENTS),
    "row48-wrong": ({"Authorization": "Bearer wrong-token-of-some-length"}, EVENTS),
    "row48-empty": ({"Authorization": "Bearer "}, EVENTS),
    "row48-prefix": ({"Authorization": f"Bearer {EVENTS_TOKEN[:-1]}"}, EVENTS),
    "row48-longer": ({"Authorization": f"Bearer {EVENTS_TOKEN}x"}, EVENTS),
    "row48-upper-case": ({"Authorization": f"Bearer {EVENTS_TOKEN.upper()}"}, EVENTS),
    "row48-other-scheme": ({"Authorization": f"Token {EVENTS_TOKEN}"}, EVENTS),
    "row48-bearer-twice": ({"Authorization": f"Bearer Bearer {EVENTS_TOKEN}"}, EVENTS),
    "row48-non-ascii": ({"Authorization": "Bearer tøken"}, EVENTS),
    "row48-basic-user-is-token": ({"Authorization": basic(EVENTS_TOKEN, "")}, EVENTS),
    "row48-basic-no-base64": ({"Authorization": "Basic %%%"}, EVENTS),
    "row48-basic-no-utf-8": (
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, EVENTS,
    ),
    "row48-basic-empty": ({"Authorization": "Basic "}, EVENTS),
    "row48-api-key-wrong": ({"X-Api-Key": "wrong"}, EVENTS),
    "row48-client-token-header": ({"X-Auth-Token": EVENTS_TOKEN}, EVENTS),
    "row48-path-wrong": ({}, f"{EVENTS}/wrong"),
    "row48-path-prefix": ({}, f"{EVENTS}/{EVENTS_TOKEN[:-1]}"),
    "row48-path-nul": ({}, f"{EVENTS}/{EVENTS_TOKEN}%00"),
    "row48-path-no-utf-8": ({}, f"{EVENTS}/%ff"),
    "row48-query": ({}, f"{EVENTS}?token={EVENTS_TOKEN}"),
}  # fmt: skip


# aiohttp's client would rather send a file
large = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@large
@pytest.mark.parametrize(("headers", "path"), CREDENTIALS.values(), ids=CREDENTIALS)
async def test_without_a_live_token_nothing_is_read(
    untouched: Target, headers: Mapping[str, str], path: str
) -> None:
    body = message(record(untouched.key, eTag="e1"))
    for sent in (body, b"no json", b" " * (MIB + 1)):
        answer = await send(untouched.service, sent, headers, path)
        assert answer.status == 401
        assert answer.document == {
            "errors": [
                {
                    "status": "401",
                    "title": "Unauthenticated",
                    "detail": "You are not authenticated",
                }
            ]
        }


async def test_row48_a_callers_token_opens_no_intake(untouched: Target) -> None:
    body = message(record(untouched.key, eTag="e1"))
    headers = {"Authorization": f"Bearer {untouched.service.client.token}"}
    assert (await send(untouched.service, body, headers)).status == 401


async def test_row48_every_token_is_compared_in_constant_time(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = secrets.compare_digest

    def watch(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(secrets, "compare_digest", watch)
    counts = []
    for token in ("x", EVENTS_TOKEN[:-1] + "x", EVENTS_TOKEN):
        compared.clear()
        headers = {"Authorization": f"Bearer {token}"}
        await send(untouched.service, b'{"Records":[]}', headers)
        counts.append(len(compared))
        # digests of one length: not even the length of a token shows
        assert {len(digest) for pair in compared for digest in pair} == {32}
    assert len(set(counts)) == 1


@large
async def test_row49_a_body_above_1_mib_is_refused(untouched: Target) -> None:
    body = message(record(untouched.key, eTag="e1"), "x" * MIB)
    answer = await send(untouched.service, body)
    assert answer.status == 413
    assert answer.document["errors"][0]["title"] == "Payload Too Large"


async def test_row49_a_body_of_1_mib_is_read(untouched: Target) -> None:
    body = b'{"Records":[]}'.ljust(MIB)
    assert (await send(untouched.service, body)).status == 200


# -- ignored and counted: rows 50 to 55 ---------------------------------------------------------

TEST_EVENT = {
    "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T10:00:00.000Z",
    "Bucket": BUCKET, "RequestId": "R", "HostId": "H",
}  # fmt: skip

MESSAGES: dict[str, tuple[Any, dict[str, int]]] = {
    "row50-test-event": (TEST_EVENT, IGNORED),
    "row50-test-event-records-null": ({**TEST_EVENT, "Records": None}, IGNORED),
    "row50-test-event-records-number": ({**TEST_EVENT, "Records": 5}, IGNORED),
    "row50-no-records": ({}, UNREADABLE),
    "row50-records-null": ({"Records": None}, UNREADABLE),
    "row50-records-object": ({"Records": {}}, UNREADABLE),
    "row50-null": (None, UNREADABLE),
    "row50-array": ([], UNREADABLE),
    "row50-number": (1, UNREADABLE),
    "row50-filer-without-key": ({"event_type": "create", "message": {}}, UNREADABLE),
    "row51-empty-records": ({"Records": []}, {**IGNORED, "ignored": 0}),
    "row51-1000-bad-records": ({"Records": [None] * 1000}, {**UNREADABLE, "unreadable": 1000}),
}


@pytest.mark.parametrize(("document", "counts"), MESSAGES.values(), ids=MESSAGES)
async def test_a_message_that_tells_of_no_object_is_counted(
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
async def test_what_cannot_be_read_is_taken_so_that_it_holds_nothing_back(
    untouched: Target, body: bytes, headers: Mapping[str, str]
) -> None:
    authorization = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    answer = await send(untouched.service, body, {**authorization, **headers})
    assert (answer.status, answer.document["meta"]) == (200, UNREADABLE)


def strange_keys(key: str) -> dict[str, str]:
    """List keys, as they stand in an event, that are near an original's and are none."""
    folder, _, file_name = key.rpartition("/original/")
    unknown = f"{folder[:-3]}999/original/{file_name}"
    return {
        "row53-other-prefix": f"other/{key}",
        "row53-leading-slash": f"/{key}",
        "row53-trailing-slash": f"{key}/",
        "row53-folder": key.rpartition("/")[0],
        "row53-other-name": key.replace("a.png", "b.png"),
        "row53-upper-case": key.replace("a.png", "A.PNG"),
        "row53-beyond-bigint": "attachments/files/" + "999/" * 7 + "original/a.png",
        "row53-unknown-id": unknown,
        "row53-empty-name": key.replace("a.png", ""),
        "row53-nul": quote(key + "\0"),
        "row53-5000-characters": key + "a" * 5000,
        "row54-encoded-twice": quote(quote(key, safe=""), safe=""),
        "row54-plus": key.replace("a.png", "+a.png"),
        "row54-no-utf-8": key.replace("a.png", "%ffa.png"),
        "row54-half-escape": key + "%2",
        "row55-thumbnail": thumbnail_key(key),
        "row55-thumbnail-of-other-format": thumbnail_key(key, "webp"),
        "row55-other-style": key.replace("/original/", "/small/"),
        "row55-below-the-original": f"{key}/a.png",
    }


STRANGE = strange_keys("attachments/files/000/000/001/original/a.png")


@pytest.mark.parametrize("case", STRANGE)
async def test_a_key_that_is_no_attachments_original_has_no_effect(
    untouched: Target, case: str
) -> None:
    key = strange_keys(untouched.key)[case]
    for name in ("ObjectCreated:Put", "s3:ObjectCreated:Put", REMOVED):
        meta = await tell(untouched.service, record(key, name=name, eTag="e1", sequencer="0A"))
        assert meta["recorded"] == 0
        assert meta["ignored"] + meta["no_effect"] == 1
    if "%" not in key:
        for kind in ("create", "update", "delete"):
            answer = await send(untouched.service, filer(key, kind))
            assert answer.document["meta"]["recorded"] == 0


@pytest.mark.parametrize("bucket", ["other", BUCKET.upper(), f"{BUCKET}x", f"{BUCKET}/", "\0", " "])
async def test_row52_another_bucket_is_ignored_and_counted(untouched: Target, bucket: str) -> None:
    before = await ignored_events(untouched.service)
    assert await tell(untouched.service, record(untouched.key, bucket=bucket)) == IGNORED
    assert await ignored_events(untouched.service) == before + 1


async def ignored_events(service: Service) -> float:
    """Read the counter of ignored events of the S3 dialect."""
    text = (await service.client.request("GET", "/metrics")).body.decode()
    name = 'attachments_events_total{dialect="aws",effect="ignored"} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda key: filer(f".uploads/0a1b_1/{key}"), id="row53-upload-part"),
        pytest.param(lambda key: filer(key, new_entry={"is_directory": True}), id="row53-folder"),
        pytest.param(lambda key: filer(key, "exist"), id="row53-unknown-kind"),
        pytest.param(
            lambda key: filer(key).replace(b"/buckets/", b"/buckets/.system/"), id="row52-system"
        ),
        pytest.param(lambda key: filer(quote_plus(key)), id="row54-filer-does-not-encode"),
    ],
)
async def test_what_else_the_filer_tells_is_ignored(untouched: Target, event: Any) -> None:
    answer = await send(untouched.service, event(untouched.key))
    assert (answer.status, answer.document["meta"]) == (200, IGNORED)


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(quote_plus, id="row54-slashes-encoded"),
        pytest.param(lambda key: quote_plus(key).lower(), id="row54-lower-case-escapes"),
        pytest.param(lambda key: key.replace(".", "%2E"), id="row54-needless-escapes"),
    ],
)
async def test_a_key_is_decoded_once(service: Service, encode: Any) -> None:
    row = await new_row(service)
    assert await tell(service, record(encode(row.key), eTag="e1")) == RECORDED


async def test_row55_our_own_thumbnail_starts_nothing(working: Service) -> None:
    attachment_id = await working.client.upload(b"GIF89a no image", "a.gif")
    await working.client.settled(attachment_id)
    before = await working.row(attachment_id)
    meta = await tell(working, record(thumbnail_key(before.key), eTag="e9", sequencer="FF"))
    assert meta == IGNORED
    await asyncio.sleep(0.3)
    assert await working.row(attachment_id) == before


# -- never believed: rows 56 to 60 --------------------------------------------------------------


async def test_row56_ten_duplicates_have_one_effect(service: Service) -> None:
    row = await new_row(service)
    event = record(row.key, eTag="e1", sequencer="0A")
    metas = [await tell(service, event) for _ in range(10)]
    assert metas == [RECORDED] + [NO_EFFECT] * 9
    assert (await service.row(row.id)).revision == 1


async def test_row56_ten_duplicates_in_one_message_have_one_effect(service: Service) -> None:
    row = await new_row(service)
    meta = await tell(service, *[record(row.key, eTag="e1", sequencer="0A")] * 10)
    assert meta["recorded"] == 1
    assert (await service.row(row.id)).revision == 1


async def test_row57_an_older_sequencer_that_comes_late_changes_nothing(service: Service) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="new", sequencer="0B"))
    before = await service.row(row.id)
    for sequencer in ("0A", "0a", "0AFF", "0"):
        late = record(row.key, eTag="old", sequencer=sequencer)
        assert await tell(service, late) == NO_EFFECT
    assert await service.row(row.id) == before


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({}, id="row58-nothing"),
        pytest.param({"eTag": None, "versionId": None, "sequencer": None}, id="row58-nulls"),
        pytest.param({"eTag": "", "versionId": "", "sequencer": ""}, id="row58-empty"),
        pytest.param({"eTag": "wrong"}, id="row60-wrong-etag"),
        pytest.param({"eTag": "wrong", "size": 10**15, "sequencer": "0A"}, id="row60-wrong-size"),
        pytest.param({"eTag": 5, "size": "x", "sequencer": []}, id="row60-wrong-types"),
    ],
)
async def test_what_the_store_says_wins(working: Service, item: dict[str, Any]) -> None:
    content = b"what the store has"
    working.stack.relay.target = None  # the store's own event is lost
    attachment_id = await working.client.upload(content, "a.txt")
    row = await working.row(attachment_id)
    assert row.state == "pending"

    await tell(working, record(row.key, **item))
    resource = await working.client.settled(attachment_id)

    after = await working.row(attachment_id)
    assert resource["meta"]["state"] == "ready"
    assert after.size == len(content)
    assert after.content_type == "text/plain"
    assert after.etag not in (None, "wrong")


async def test_row58_a_vague_event_of_what_is_done_makes_the_store_be_asked(
    service: Service,
) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="e1"))
    await service.execute("UPDATE attachments SET state = 'ready', due_at = NULL")
    before = await service.row(row.id)
    assert (await tell(service, record(row.key)))["unreadable"] == 0
    after = await service.row(row.id)
    assert after.due_at is not None
    assert (after.state, after.revision, after.etag) == ("ready", before.revision, "e1")


@pytest.mark.parametrize("there", [True, False], ids=["row59-there", "row59-not-there"])
async def test_removed_before_created_comes_to_what_the_store_has(
    working: Service, there: bool
) -> None:
    working.stack.relay.target = None  # the store's own event is lost
    if there:
        attachment_id = await working.client.upload(b"text", "a.txt")
    else:
        attachment_id = str((await new_row(working)).id)
    row = await working.row(attachment_id)

    await tell(working, record(row.key, name=REMOVED, sequencer="0B"))
    await tell(working, record(row.key, eTag="e1", sequencer="0A"))
    resource = await working.client.settled(attachment_id)

    if there:
        assert resource["meta"]["state"] == "ready"
        assert resource["attributes"]["size"] == 4
    else:
        assert resource["meta"]["state"] == "failed"
        assert resource["meta"]["reason"]["code"] == "missing"


# -- anything at all: never a 5xx, never a changed row ------------------------------------------

anything = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Copy a document with one member replaced."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return copy


def paths(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the place of everything in a document."""
    found = []
    if isinstance(document, (dict, list)):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for name, value in items:
            found += [(*before, name), *paths(value, (*before, name))]
    return found


# of an attachment that does not exist, so that nothing in them is known
UNKNOWN = "attachments/files/000/000/007/original/a.png"
MINIO = {
    "EventName": "s3:ObjectCreated:Post",
    "Key": f"{BUCKET}/{UNKNOWN}",
    "Records": [
        {
            **record(quote_plus(UNKNOWN), eTag="d41d8c", sequencer="18AB5F2C90C4E9D5"),
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "eventName": "s3:ObjectCreated:Post",
            "source": {"host": "", "port": "", "userAgent": ""},
        }
    ],
}
SAMPLES: list[Any] = [
    json.loads(message(record(UNKNOWN, eTag="d41d8c", versionId="v1", sequencer="0064D3"))),
    MINIO,
    json.loads(json.dumps(MINIO).replace("minio:s3", "rustfs:s3")),
    *[json.loads(filer(UNKNOWN, kind)) for kind in ("create", "update", "delete")],
    json.loads(
        filer(UNKNOWN, "rename", new_parent_path=f"/buckets/{BUCKET}/x", old_entry={"name": "a"})
    ),
]
MUTATED = st.sampled_from(SAMPLES).flatmap(
    lambda sample: st.builds(put, st.just(sample), st.sampled_from(paths(sample)), JSON)
)


@anything
@given(document=MUTATED)
async def test_no_bent_event_is_a_fault_or_changes_a_row(untouched: Target, document: Any) -> None:
    answer = await send(untouched.service, json.dumps(document).encode())
    assert answer.status == 200, answer.body
    assert answer.document["meta"]["recorded"] == 0


@anything
@given(
    sample=st.sampled_from(SAMPLES),
    start=st.integers(0, 500),
    length=st.integers(0, 20),
    noise=st.binary(max_size=20),
)
async def test_no_damaged_bytes_are_a_fault_or_change_a_row(
    untouched: Target, sample: Any, start: int, length: int, noise: bytes
) -> None:
    body = json.dumps(sample).encode()
    answer = await send(untouched.service, body[:start] + noise + body[start + length :])
    assert answer.status == 200, answer.body
    assert answer.document["meta"]["recorded"] == 0


@anything
@given(
    header=st.sampled_from(["Authorization", "X-Api-Key"]),
    scheme=st.sampled_from(["", "Bearer ", "Basic ", "bearer"]),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"])),
    token=TEXT.filter(lambda text: text not in (".", "..")),
)
async def test_no_credential_but_a_live_one_opens(
    untouched: Target, header: str, scheme: str, value: str, token: str
) -> None:
    body = message(record(untouched.key, eTag="e1"))
    path = f"{EVENTS}/{quote(token, safe='')}" if token else EVENTS
    answer = await send(untouched.service, body, {header: scheme + value}, path)
    # the router knows no path with a brace
    assert answer.status == (404 if set(token) & set("{}") else 401)
