"""Bad events, by the rows of the bad-input matrix: refused or counted, and never believed."""

import asyncio
import base64
import gzip
import json
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
import pytest_asyncio

from api import server
from api.bodies import READ_TIMEOUT_S
from api.events import MAX_SIGNED_BYTES, MAX_STRANGE_BYTES, MAX_STRANGERS
from shared.keys import original_key, thumbnail_key
from tests.support.databases import clone_database
from tests.support.dialects import (
    BATCHING,
    CEPH,
    DIALECTS,
    ORDERED,
    UNORDERED,
    Dialect,
    sample,
)
from tests.support.events import (
    EVENTS,
    NO_EFFECT,
    RECORDED,
    Target,
    basic,
    deliver,
    filer,
    message,
    new_row,
    post,
    record,
    send,
    slow_strangers,
    status_in_pieces,
)
from tests.support.service import Service, running_service, until
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack
from tests.support.starting import StartService

MIB = 1024 * 1024
IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}
UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}
NOTHING = {**UNREADABLE, "unreadable": 0}


def every(
    row: int, dialects: tuple[Dialect, ...] = DIALECTS, name: str = "dialect"
) -> pytest.MarkDecorator:
    """Try each dialect for a row of the matrix."""
    return pytest.mark.parametrize(
        name, dialects, ids=[f"row{row}-{dialect.name}" for dialect in dialects]
    )


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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(stack: Stack) -> AsyncIterator[Service]:
    """One API for all that concerns only attachments of the test's own."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield service


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
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        EVENTS,
    ),
    "row48-basic-empty": ({"Authorization": "Basic "}, EVENTS),
    "row48-api-key-wrong": ({"X-Api-Key": "wrong"}, EVENTS),
    "row48-client-token-header": ({"X-Auth-Token": EVENTS_TOKEN}, EVENTS),
    "row48-path-wrong": ({}, f"{EVENTS}/wrong"),
    "row48-path-prefix": ({}, f"{EVENTS}/{EVENTS_TOKEN[:-1]}"),
    "row48-path-nul": ({}, f"{EVENTS}/{EVENTS_TOKEN}%00"),
    "row48-path-no-utf-8": ({}, f"{EVENTS}/%ff"),
    "row48-query": ({}, f"{EVENTS}?token={EVENTS_TOKEN}"),
}


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


@every(48)
async def test_no_dialect_is_taken_without_a_live_token(
    untouched: Target, dialect: Dialect
) -> None:
    body = json.dumps(dialect.message(dialect.tell(BUCKET, untouched.key, etag="e1"))).encode()
    # what looks like SNS's is looked at, and is not signed
    expected = 403 if dialect.name == "sns" else 401
    for headers in ({}, {"Authorization": "Bearer wrong-token-of-some-length"}):
        assert (await send(untouched.service, body, headers)).status == expected


@large
@every(49)
async def test_a_body_above_1_mib_is_refused(untouched: Target, dialect: Dialect) -> None:
    told = dialect.tell(BUCKET, untouched.key, etag="e1")
    body = json.dumps(dialect.message(told)).encode().ljust(MIB + 1)
    answer = await send(untouched.service, body)
    assert answer.status == 413
    assert answer.document["errors"][0]["title"] == "Payload Too Large"


@every(49)
async def test_a_body_of_1_mib_is_read(untouched: Target, dialect: Dialect) -> None:
    told = dialect.tell(BUCKET, original_key(1, "a.png"), etag="e1")
    body = json.dumps(dialect.message(told)).encode().ljust(MIB)
    answer = await send(untouched.service, body)
    assert (answer.status, answer.document["meta"]) == (200, NO_EFFECT)


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {EVENTS_TOKEN}"}, {}])
async def test_row49_a_body_that_unpacks_to_more_is_not_unpacked(
    untouched: Target, headers: dict[str, str]
) -> None:
    bomb = gzip.compress(b" " * 20 * MIB, mtime=0)
    assert len(bomb) < MIB
    answer = await send(untouched.service, bomb, {**headers, "Content-Encoding": "gzip"})
    assert answer.status == (413 if headers else 401)


# -- ignored and counted: rows 50 to 55 ---------------------------------------------------------

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


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """A thousand attachments, and how many statements have written them."""

    service: Service
    keys: list[str]

    async def reset(self) -> None:
        """Let all of them wait for their upload again."""
        await self.service.execute(
            "UPDATE attachments SET state = 'pending', revision = 0, etag = NULL, sequencer = NULL"
        )
        await self.service.execute("DELETE FROM statements")

    async def found(self) -> dict[str, int]:
        """Count rows by state."""
        rows = await self.service.database.fetch(
            "SELECT state, count(*) FROM attachments GROUP BY state"
        )
        return dict(rows)  # type: ignore[arg-type]  # a row of two is a pair


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thousand(stack: Stack) -> AsyncIterator[Crowd]:
    """One API with a thousand attachments for the whole module."""
    async with running_service(stack, await clone_database(stack)) as service:
        item = {"type": "attachments", "attributes": {"name": "a.png"}}
        keys = []
        for _ in range(10):
            answer = await service.client.request(
                "POST",
                "/api/v2/attachments",
                {"data": [item] * 100},
                headers={"Content-Type": "application/vnd.api+json; ext=bulk"},
            )
            keys += [original_key(int(resource["id"]), "a.png") for resource in answer.data]
        await service.execute(
            """
            CREATE TABLE statements (at timestamptz DEFAULT clock_timestamp());
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO statements DEFAULT VALUES; RETURN NULL; END $$;
            CREATE TRIGGER noted AFTER UPDATE ON attachments EXECUTE FUNCTION note();
            """
        )
        yield Crowd(service=service, keys=keys)


@every(51, BATCHING)
async def test_a_thousand_records_are_stored_by_one_statement(
    thousand: Crowd, dialect: Dialect
) -> None:
    await thousand.reset()
    told = [dialect.tell(BUCKET, key, etag="e1", sequencer="0A") for key in thousand.keys]
    random.Random(51).shuffle(told)
    assert await post(thousand.service, dialect, *told) == {**RECORDED, "recorded": 1000}
    assert await thousand.found() == {"uploaded": 1000}
    assert await thousand.service.database.fetchval("SELECT count(*) FROM statements") == 1


@every(51, BATCHING)
async def test_of_a_thousand_records_all_or_none_are_stored(
    thousand: Crowd, dialect: Dialect
) -> None:
    await thousand.reset()
    told = [dialect.tell(BUCKET, key, etag="e1", sequencer="0A") for key in thousand.keys]
    body = json.dumps(dialect.message(*told), separators=(",", ":")).encode()
    # one row that cannot be written: as if the database failed in the middle
    victim = thousand.keys[600].rpartition("/original/")[0].rpartition("files/")[2]
    await thousand.service.execute(
        "ALTER TABLE attachments ADD CONSTRAINT one"
        f" CHECK (id <> {int(victim.replace('/', ''))} OR etag IS NULL)"
    )
    try:
        assert (await send(thousand.service, body)).status == 500
        assert await thousand.found() == {"pending": 1000}
    finally:
        await thousand.service.execute("ALTER TABLE attachments DROP CONSTRAINT one")
    assert (await deliver(thousand.service, body)).document["meta"]["recorded"] == 1000


@every(52)
@pytest.mark.parametrize("bucket", ["other", BUCKET.upper(), f"{BUCKET}x", "\0", " "])
async def test_another_bucket_is_ignored_and_counted(
    untouched: Target, dialect: Dialect, bucket: str
) -> None:
    before = await ignored_events(untouched.service, dialect)
    for removed in (False, True):
        told = dialect.tell(bucket, untouched.key, removed=removed, etag="e1")
        assert await post(untouched.service, dialect, told) == IGNORED
    assert await ignored_events(untouched.service, dialect) == before + 2


async def ignored_events(service: Service, dialect: Dialect) -> float:
    """Read the counter of ignored events of a dialect."""
    text = service.metrics()
    name = f'attachments_events_total{{dialect="{dialect.label}",effect="ignored"}} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


def strange_keys(key: str) -> dict[str, str]:
    """List keys that are near an original's and are none."""
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
        told = dialect.tell(BUCKET, key, removed=removed, etag="e1", sequencer="0A")
        meta = await post(untouched.service, dialect, told)
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
async def test_what_else_the_filer_tells_is_ignored(untouched: Target, event: Any) -> None:
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
    meta = await post(shared, dialect, dialect.tell(BUCKET, encode(row.key), encoded=True))
    assert meta == (RECORDED if dialect.name in understood_by else IGNORED)


@every(55)
async def test_our_own_thumbnail_starts_nothing(working: Service, dialect: Dialect) -> None:
    attachment_id = await working.client.upload(b"GIF89a no image", "a.gif")
    await working.client.settled(attachment_id)
    before = await working.row(attachment_id)
    told = dialect.tell(BUCKET, thumbnail_key(before.key), etag="e9", sequencer="FF")
    assert await post(working, dialect, told) == IGNORED
    await asyncio.sleep(0.2)
    assert await working.row(attachment_id) == before


# -- never believed: rows 56 to 60 --------------------------------------------------------------


@every(56)
async def test_ten_duplicates_have_one_effect(shared: Service, dialect: Dialect) -> None:
    row = await new_row(shared)
    told = dialect.tell(BUCKET, row.key, etag="e1", sequencer="0A")
    metas = [await post(shared, dialect, told) for _ in range(10)]
    assert metas == [RECORDED] + [NO_EFFECT] * 9
    assert (await shared.row(row.id)).revision == 1


@every(56, BATCHING)
async def test_ten_duplicates_in_one_message_have_one_effect(
    shared: Service, dialect: Dialect
) -> None:
    row = await new_row(shared)
    told = dialect.tell(BUCKET, row.key, etag="e1", sequencer="0A")
    assert (await post(shared, dialect, *[told] * 10))["recorded"] == 1
    assert (await shared.row(row.id)).revision == 1


@every(56)
@every(56, name="other")
async def test_a_duplicate_by_another_way_has_no_effect(
    shared: Service, dialect: Dialect, other: Dialect
) -> None:
    row = await new_row(shared)
    item: dict[str, Any] = {"etag": "e1", "version_id": "v1", "sequencer": "0A"}
    assert await post(shared, dialect, dialect.tell(BUCKET, row.key, **item)) == RECORDED
    assert await post(shared, other, other.tell(BUCKET, row.key, **item)) == NO_EFFECT
    assert (await shared.row(row.id)).revision == 1


@every(57, ORDERED)
@pytest.mark.parametrize(
    ("known", "late"),
    [("0B", "0A"), ("0b", "0A"), ("0B", "0AFF"), ("2", "1FFFFFFF"), ("10", "1"), ("1", "10000")],
)
async def test_an_older_sequencer_that_comes_late_changes_nothing(
    shared: Service, dialect: Dialect, known: str, late: str
) -> None:
    row = await new_row(shared)
    await post(shared, dialect, dialect.tell(BUCKET, row.key, etag="new", sequencer=known))
    before = await shared.row(row.id)
    told = dialect.tell(BUCKET, row.key, etag="old", sequencer=late)
    assert await post(shared, dialect, told) == NO_EFFECT
    assert await shared.row(row.id) == before


@every(57, ORDERED)
@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_a_newer_sequencer_counts_that_comes_without_an_etag(
    shared: Service, dialect: Dialect, state: str
) -> None:
    row = await new_row(shared)
    first = dialect.tell(BUCKET, row.key, etag="e1", sequencer="0A")
    assert await post(shared, dialect, first) == RECORDED
    await shared.execute("UPDATE attachments SET state = $2 WHERE id = $1", row.id, state)
    newer = dialect.tell(BUCKET, row.key, sequencer="0B")
    assert await post(shared, dialect, newer) == RECORDED
    after = await shared.row(row.id)
    assert (after.revision, after.sequencer) == (2, "0B")
    for repeated in (newer, first):
        assert await post(shared, dialect, repeated) == NO_EFFECT
    assert await shared.row(row.id) == after


@every(57, UNORDERED)
async def test_what_orders_nothing_is_never_ordered_by(shared: Service, dialect: Dialect) -> None:
    row = await new_row(shared)
    for number, sequencer in enumerate(("FF", "0A", "FE", "0B"), 1):
        told = dialect.tell(BUCKET, row.key, etag=f"e{number}", sequencer=sequencer)
        assert await post(shared, dialect, told) == RECORDED
        after = await shared.row(row.id)
        assert (after.revision, after.etag, after.sequencer) == (number, f"e{number}", None)


LIES: dict[str, dict[str, Any]] = {
    "row57-orders-nothing": {"etag": "of-another", "sequencer": "FFFFFFFFFFFFFFFFFFFF"},
    "row58-nothing": {},
    "row58-nulls": {"etag": None, "version_id": None, "sequencer": None},
    "row58-empty": {"etag": "", "version_id": "", "sequencer": ""},
    "row58-no-sequencer": {"etag": "wrong"},
    "row60-wrong-size": {"etag": "wrong", "size": 10**15, "sequencer": "0A"},
    "row60-negative-size": {"size": -1, "sequencer": "0A"},
    "row60-wrong-types": {"etag": 5, "size": "x", "sequencer": []},
}


@pytest.mark.parametrize("case", LIES)
async def test_what_the_store_says_wins(working: Service, case: str) -> None:
    working.stack.relay.target = None  # the store's own events are lost
    rows = {}
    for dialect in DIALECTS:
        attachment_id = await working.client.upload(b"what the store has", "a.txt")
        rows[dialect] = await working.row(attachment_id)
        assert rows[dialect].state == "pending"
        await post(working, dialect, dialect.tell(BUCKET, rows[dialect].key, **LIES[case]))
    for dialect, row in rows.items():
        resource = await working.client.settled(row.id)
        after = await working.row(row.id)
        assert resource["meta"]["state"] == "ready", dialect.name
        assert after.size == 18, dialect.name
        assert (after.content_type or "").startswith("text/plain"), dialect.name
        assert after.etag not in (None, "wrong", "of-another"), dialect.name


@every(58)
async def test_a_vague_event_of_what_is_done_makes_the_store_be_asked(
    shared: Service, dialect: Dialect
) -> None:
    row = await new_row(shared)
    await post(shared, dialect, dialect.tell(BUCKET, row.key, etag="e1"))
    await shared.execute(
        "UPDATE attachments SET state = 'ready', due_at = NULL WHERE id = $1", row.id
    )
    before = await shared.row(row.id)
    assert await post(shared, dialect, dialect.tell(BUCKET, row.key)) == RECORDED
    after = await shared.row(row.id)
    assert after.due_at is not None
    assert (after.state, after.revision, after.etag) == ("ready", before.revision, "e1")


@pytest.mark.parametrize("there", [True, False], ids=["row59-there", "row59-not-there"])
async def test_removed_before_created_comes_to_what_the_store_has(
    working: Service, there: bool
) -> None:
    working.stack.relay.target = None  # the store's own events are lost
    rows = {}
    for dialect in DIALECTS:
        if there:
            row = await working.row(await working.client.upload(b"text", "a.txt"))
        else:
            row = await new_row(working)
        rows[dialect] = row
        told = dialect.tell(BUCKET, row.key, removed=True, sequencer="0B")
        await post(working, dialect, told)
        await post(working, dialect, dialect.tell(BUCKET, row.key, etag="e1", sequencer="0A"))
    for dialect, row in rows.items():
        resource = await working.client.settled(row.id)
        if there:
            assert resource["meta"]["state"] == "ready", dialect.name
            assert resource["attributes"]["size"] == 4
        else:
            assert resource["meta"]["state"] == "failed", dialect.name
            assert resource["meta"]["reason"]["code"] == "missing"


async def test_row59_a_multipart_upload_that_has_only_begun_is_no_object_yet(
    working: Service,
) -> None:
    created = await working.client.create("a.txt")
    row = await working.row(created["data"]["id"])
    # Ceph tells of it as of an upload, when there is nothing yet
    assert (await post(working, CEPH, CEPH.tell(BUCKET, row.key, etag="", size=0)))["recorded"] == 1

    async def asked() -> bool:
        return (await working.row(row.id)).state not in ("uploaded", "processing")

    await until(asked, within_s=30)
    status, body = await working.client.post_file(created, b"text")
    assert status == 201, body

    async def ready() -> bool:
        return (await working.row(row.id)).state == "ready"

    await until(ready, within_s=30)


# -- one bad among good: row 61 -----------------------------------------------------------------


BAD_RECORDS: list[Any] = [
    None,
    5,
    "x",
    [],
    {},
    {"eventName": None},
    {"eventName": "ObjectCreated:Put"},
]


@every(61, BATCHING)
async def test_a_bad_record_among_good_is_quarantined(shared: Service, dialect: Dialect) -> None:
    rows = [await new_row(shared) for _ in range(2)]
    good = [dialect.tell(BUCKET, row.key, etag="e1") for row in rows]
    for bad in BAD_RECORDS:
        await shared.execute("UPDATE attachments SET state = 'pending', etag = NULL")
        await shared.execute("TRUNCATE dead_letters")
        for told in ((good[0], bad, good[1]), (bad, *good), (*good, bad)):
            document = dialect.message(*told)
            meta = await post(shared, dialect, *told)
            assert meta["unreadable"] == 1, document
        assert [(await shared.row(row.id)).state for row in rows] == ["uploaded"] * 2
        # three orders, three messages; each whole
        assert await shared.database.fetchval("SELECT count(*) FROM dead_letters") == 3


@every(53)
async def test_a_key_of_thousands_of_digits_is_ignored(untouched: Target, dialect: Dialect) -> None:
    key = f"attachments/files/{'/'.join(['123'] * 1700)}/original/a.png"
    counts = await post(untouched.service, dialect, dialect.tell(BUCKET, key, etag="e1"))
    assert counts == IGNORED


# -- strangers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("topics", ["", "arn:aws:sns:eu-west-1:1:t"])
async def test_row48_of_a_strangers_body_little_is_read_and_nothing_unpacked(
    start_service: StartService, topics: str
) -> None:
    service = await start_service(sns_topics=topics)
    wide = b'{"Type":1,"TopicArn":1,"Message":[' + b"[]," * 340_000 + b"[]]}"
    for body, headers in (
        (gzip.compress(wide), {"Content-Encoding": "gzip"}),
        (wide, {}),
    ):
        assert (await send(service, body, headers)).status == 401


async def test_row48_strangers_who_send_slowly_take_no_more_than_their_places(
    start_service: StartService,
) -> None:
    service = await start_service(sns_topics="arn:aws:sns:eu-west-1:1:t")
    body = b'{"Event":"s3:TestEvent","Bucket":"b"}'
    long = b"[]".ljust(MAX_STRANGE_BYTES + 1)
    async with slow_strangers(service, MAX_STRANGERS, MAX_SIGNED_BYTES):

        async def refused() -> bool:
            return await status_in_pieces(service, long, known=False) == 503

        await until(refused)
        # whoever has a token is served, and whoever needs no place
        assert await status_in_pieces(service, body.ljust(len(long)), known=True) == 200
        assert await status_in_pieces(service, body, known=False) == 401
        assert (await send(service, long, {})).status == 401

    async def served() -> bool:
        return await status_in_pieces(service, long, known=False) == 401

    await until(served)


async def test_row48_a_stranger_who_breaks_off_is_no_bug(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = mock.Mock()
    monkeypatch.setattr(server, "log", log)
    for length in (9000, MAX_STRANGE_BYTES):
        async with slow_strangers(service, 3, length):
            await asyncio.sleep(0.1)  # so that their bodies are waited for
    assert await status_in_pieces(service, b"{}", known=False) == 401
    await asyncio.sleep(0.1)
    assert log.error.call_args_list == []


@pytest.mark.parametrize(("topics", "status"), [("", 401), ("arn:aws:sns:eu-west-1:1:t", 503)])
async def test_row48_a_stranger_has_less_time_to_send_than_others(
    start_service: StartService, topics: str, status: int
) -> None:
    service = await start_service(sns_topics=topics)
    async with (
        slow_strangers(service, 1, 9000) as [(reader, _)],
        asyncio.timeout(READ_TIMEOUT_S - 1),
    ):
        assert int((await reader.readline()).split()[1]) == status
