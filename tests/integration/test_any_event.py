"""Any name and any body at the running intake: names come back, and nothing breaks or blocks it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from api.events import RECORD_WITHIN_S
from shared import intake
from shared.attachments import Attachment
from shared.database import Database
from shared.keys import MAX_ID, original_key, parse_key, partition
from shared.notifications import read
from shared.reserved import Reserved
from tests.support.amazon import Amazon, running_amazon
from tests.support.databases import clone_database
from tests.support.dialects import AWS, BATCHING, DIALECTS, SAMPLES, TOPIC, Dialect
from tests.support.events import (
    EVENTS,
    NO_EFFECT,
    RECORDED,
    Target,
    deliver,
    message,
    new_row,
    post,
    record,
    send,
)
from tests.support.messages import NAMES, places, put
from tests.support.proxy import running_proxy
from tests.support.service import Answer, ApiProcess, Service, running_service, until
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack
from tests.support.starting import StartService

thorough = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    # each example is a request or more; to make a failing one smaller takes too many
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

COUNTS = {"recorded", "no_effect", "ignored", "unreadable"}
ANSWERED_WITHIN_S = 10
"""A source may wait for 3 s only; a machine that runs tests has more to do than this."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """One API for the whole module, with one attachment that nothing may change."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield Target(service=service, row=await new_row(service))


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """The same, and proof that the test stored and changed nothing."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


@pytest_asyncio.fixture(loop_scope="session")
async def service(target: Target) -> Service:
    """The same API, for attachments of the test's own."""
    return target.service


async def feed(service: Service, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """Post any body with a live token; whatever it is, it is taken in time."""
    authorization = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    async with asyncio.timeout(4 * ANSWERED_WITHIN_S):
        answer = await deliver(service, body, {**authorization, **(headers or {})})
    assert answer.status == 200, answer.body
    assert answer.document["meta"].keys() == COUNTS
    return answer


class Good:
    """An attachment whose good events are taken whatever came before."""

    def __init__(self, service: Service, row: Attachment) -> None:
        self._service, self._row, self._number = service, row, 0

    async def follows(self, dialect: Dialect = AWS) -> None:
        """Post the next good event."""
        self._number += 1
        told = dialect.tell(
            BUCKET, self._row.key, etag=f"e{self._number}", sequencer=f"{self._number:08X}"
        )
        assert await post(self._service, dialect, told) == RECORDED


@pytest_asyncio.fixture(loop_scope="session")
async def good(service: Service) -> Good:
    """A source of good events."""
    return Good(service, await new_row(service))


# -- any name ----------------------------------------------------------------------------------


@settings(thorough, max_examples=25)
@given(name=NAMES.filter(lambda name: not Reserved().has_name(name)))
@example(name="a b+c%2Bd%252F&e=f.png")
@example(name="../../thumb/\u202egnp.dat")
@example(name="${filename}")
@example(name="ä" * 255)
async def test_any_name_comes_back_from_the_store_in_every_dialect(
    service: Service, name: str
) -> None:
    before, service.stack.relay.target = service.stack.relay.target, service.base_url
    try:
        await come_back(service, name)
    finally:
        service.stack.relay.target = before


async def come_back(service: Service, name: str) -> None:
    """Upload a file of a name, and have every dialect tell of the store's object."""
    other = await new_row(service)
    created = await service.client.create(name)
    attachment_id = int(created["data"]["id"])
    status, body = await service.client.post_file(created, b"content")
    assert status == 201, body
    recorded = await until(lambda: uploaded(service, attachment_id))

    # the key as the store itself wrote it, which is what every other store would encode
    told_by_store = [
        event["key"].removeprefix(f"/buckets/{BUCKET}/")
        for event in service.stack.relay.seen
        if event["event_type"] == "create" and event["key"].startswith(f"/buckets/{BUCKET}/")
    ]
    keys = {key for key in told_by_store if parse_key(key) == (attachment_id, "original")}
    assert keys == {recorded.key}
    assert created["data"]["attributes"]["aws_policy"]["key"] in keys

    for number, dialect in enumerate(DIALECTS):
        item: dict[str, Any] = {"etag": recorded.etag}
        told = dialect.tell(BUCKET, recorded.key, **item)
        assert await post(service, dialect, told) == NO_EFFECT, dialect.name
        item = {"etag": f"another-{number}", "sequencer": f"{number + 1:02X}"}
        assert await post(service, dialect, dialect.tell(BUCKET, recorded.key, **item)) == RECORDED
        assert (await service.row(attachment_id)).etag == item["etag"]
        recorded = await service.row(attachment_id)
    assert recorded.revision == 1 + len(DIALECTS)
    assert await service.row(other.id) == other


async def uploaded(service: Service, attachment_id: int) -> Attachment | None:
    """Give the row once the store's event has been recorded."""
    row = await service.row(attachment_id)
    return row if row.state == "uploaded" else None


# -- any body ----------------------------------------------------------------------------------

TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)

# of an attachment that does not exist, so that nothing in them is known
UNKNOWN = original_key(MAX_ID, "a_b.png")


def of_no_attachment(sample: Any) -> Any:
    """Copy a sample, of our bucket and of an attachment that does not exist."""
    written = json.dumps(sample)
    for old, new in (
        (partition(4), partition(MAX_ID)),
        (quote_plus(partition(4)), quote_plus(partition(MAX_ID))),
        ('"b"', f'"{BUCKET}"'),
        ('\\"b\\"', f'\\"{BUCKET}\\"'),
        ("/buckets/b/", f"/buckets/{BUCKET}/"),
    ):
        written = written.replace(old, new)
    return json.loads(written)


MESSAGES = [
    of_no_attachment(sample)
    for sample in SAMPLES.values()
    # of confirmations nothing is taken by a token alone
    if not (isinstance(sample, dict) and "Token" in sample)
]


def bent(samples: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Make messages of samples, in each of which one thing is another."""
    return st.sampled_from(samples).flatmap(
        lambda sample: st.builds(
            lambda place, value: put(json.loads(json.dumps(sample)), place, value),
            st.sampled_from(places(sample)),
            JSON,
        )
    )


MUTATED = bent(MESSAGES)


def test_the_messages_are_of_our_bucket_and_of_no_attachment() -> None:
    keys = {event.key for each in MESSAGES for event in read(each, bucket=BUCKET).events}
    assert keys == {UNKNOWN}
    told = [sample for sample in SAMPLES.values() if read(sample, bucket="b").events]
    assert len([each for each in MESSAGES if read(each, bucket=BUCKET).events]) == len(told)


@settings(thorough, max_examples=400)
@given(document=MUTATED)
async def test_no_bent_event_is_a_fault_or_changes_a_row(untouched: Target, document: Any) -> None:
    answer = await feed(untouched.service, json.dumps(document).encode())
    assert answer.document["meta"]["recorded"] == 0


@thorough
@given(document=JSON)
async def test_no_json_is_a_fault_or_changes_a_row(untouched: Target, document: Any) -> None:
    answer = await feed(untouched.service, json.dumps(document).encode())
    assert answer.document["meta"]["recorded"] == 0


@thorough
@given(
    sample=st.sampled_from(MESSAGES),
    start=st.integers(0, 500),
    length=st.integers(0, 20),
    noise=st.binary(max_size=20),
)
async def test_no_damaged_bytes_are_a_fault_or_change_a_row(
    untouched: Target, sample: Any, start: int, length: int, noise: bytes
) -> None:
    body = json.dumps(sample).encode()
    answer = await feed(untouched.service, body[:start] + noise + body[start + length :])
    assert answer.document["meta"]["recorded"] == 0


@thorough
@given(
    body=st.binary(max_size=200),
    damage=st.integers(0, 200),
    noise=st.binary(max_size=5),
    encoding=st.sampled_from(["gzip", "deflate", "br", "gzip, gzip", "identity"]),
)
async def test_no_compressed_junk_is_a_fault(
    untouched: Target, body: bytes, damage: int, noise: bytes, encoding: str
) -> None:
    packed = gzip.compress(body, mtime=0)
    for sent in (body, packed[:damage] + noise + packed[damage:]):
        answer = await feed(untouched.service, sent, {"Content-Encoding": encoding})
        assert answer.document["meta"]["recorded"] == 0


DEPTHS = [1, 63, 1023, 1024, 1025, 100_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("opening", [b"[", b'{"Records":', b'{"a":'], ids=["array", "records", "a"])
async def test_no_deep_document_is_a_fault(untouched: Target, depth: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    depth = min(depth, 1_000_000 // (len(opening) + 1))
    deep = opening * depth + b"1" + closing * depth
    within = b'{"Records":[{"eventSource":"aws:s3","eventName":%s}]}' % deep[:900_000]
    for body in (deep, opening * depth, within):
        await feed(untouched.service, body)


WIDE = {
    "zeros": b'{"Records":[' + b"0," * 500_000 + b"0]}",
    "objects": b'{"Records":[' + b"{}," * 330_000 + b"{}]}",
    "bare": b"[" + b"0," * 500_000 + b"0]",
    "bare-of-versitygw": b'[{"s3":{"configurationId":"webhook-global"}}' + b",{}" * 330_000 + b"]",
    "other-events": b'{"Records":[' + b'{"eventName":"x"},' * 50_000 + b"{}]}",
    "members": b"{" + b",".join(b'"%d":0' % n for n in range(80_000)) + b"}",
    "one-name": b"{" + b",".join([b'"Records":[]'] * 70_000) + b"}",
    "one-text": b'{"Records":[{"eventName":"' + b"x" * 1_000_000 + b'"}]}',
    "one-number": b'{"Records":[{"eventName":' + b"9" * 1_000_000 + b"}]}",
    "escapes": b'{"Records":[{"eventName":"' + b"\\u0000" * 160_000 + b'"}]}',
    "one-key": json.dumps(
        AWS.message(AWS.tell(BUCKET, UNKNOWN + "%41" * 300_000, encoded=True))
    ).encode(),
    "one-etag": json.dumps(AWS.message(AWS.tell(BUCKET, UNKNOWN, etag="a" * 900_000))).encode(),
    "one-sequencer": json.dumps(
        AWS.message(AWS.tell(BUCKET, UNKNOWN, etag="a", sequencer="A" * 900_000))
    ).encode(),
}


@pytest.mark.parametrize("case", WIDE)
async def test_no_wide_document_is_a_fault(untouched: Target, case: str) -> None:
    answer = await feed(untouched.service, WIDE[case])
    assert answer.document["meta"]["recorded"] == 0


CROWD = 32
"""Wide documents that take far longer to be read than a source waits, each by itself does not."""


async def test_what_reading_takes_is_not_left_to_the_database(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    run_within = Database.run_within

    async def watch(database: Database, timeout_s: float, function: Any, *rest: Any) -> Any:
        if function is intake.record:  # not what looks after tokens meanwhile
            left.append(timeout_s)
        return await run_within(database, timeout_s, function, *rest)

    monkeypatch.setattr(Database, "run_within", watch)
    for records in (1, 1, 1, 100_000):
        await feed(untouched.service, b'{"Records":[' + b"0," * records + b"0]}")
    *short, long = left
    assert RECORD_WITHIN_S >= max(short) > long > 0


async def test_a_crowd_of_wide_documents_is_answered_in_time_and_taken_in_the_end(
    start_service: StartService,
) -> None:
    service = await start_service()
    body = gzip.compress(WIDE["zeros"], mtime=0)
    headers = {
        "Authorization": f"Bearer {EVENTS_TOKEN}",
        "Content-Encoding": "gzip",
    }

    async def post() -> int:
        async with service.client.session.post(
            f"{api.url}{EVENTS}", data=body, headers=headers
        ) as answer:
            return answer.status

    async def crowd() -> list[int]:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            return await asyncio.gather(*(post() for _ in range(CROWD)))

    async with running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as proxy:
        api = ApiProcess(service.environment, database_url=proxy.url)
        try:
            await api.start()
            proxy.swallow()
            assert set(await crowd()) == {503}
            proxy.let_go()

            async def some_are_taken() -> bool:
                return 200 in await crowd()

            await until(some_are_taken, within_s=30)
        finally:
            api.close()
    assert await service.database.fetchval("SELECT length(body) FROM dead_letters") == len(
        WIDE["zeros"]
    )


# -- never in part, never in the way -----------------------------------------------------------


def first_record(document: Any) -> Any:
    """Give the first record of a message, or the message that has none."""
    records = document.get("Records") if isinstance(document, dict) else document
    return records[0] if isinstance(records, list) and records else document


def is_json(document: Any) -> bool:
    """Whether it can be read at all: with NaN or half a character no record of a body can."""
    try:
        orjson.loads(json.dumps(document))
    except orjson.JSONDecodeError:
        return False
    return True


POISON = (JSON | MUTATED.map(first_record)).filter(is_json)


@thorough
@given(poison=POISON, place=st.integers(0, 2), dialect=st.sampled_from(BATCHING))
async def test_good_records_count_whatever_stands_among_them(
    service: Service, pair: tuple[Attachment, Attachment], poison: Any, place: int, dialect: Dialect
) -> None:
    await service.execute(
        "UPDATE attachments SET state = 'pending', etag = NULL, sequencer = NULL"
        " WHERE id = ANY ($1::bigint[])",
        [row.id for row in pair],
    )
    told = [dialect.tell(BUCKET, row.key, etag="e1") for row in pair]
    told.insert(place, poison)
    answer = await feed(service, json.dumps(dialect.message(*told)).encode())
    states = {(await service.row(row.id)).state for row in pair}
    recorded = answer.document["meta"]["recorded"]
    assert (recorded, states) == (2, {"uploaded"})


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service: Service) -> tuple[Attachment, Attachment]:
    """Two attachments."""
    return await new_row(service), await new_row(service)


@thorough
@given(
    junk=st.lists(st.binary(max_size=50) | MUTATED.map(json.dumps).map(str.encode), max_size=4),
    dialect=st.sampled_from(DIALECTS),
)
async def test_the_next_good_event_is_always_taken(
    service: Service, good: Good, junk: list[bytes], dialect: Dialect
) -> None:
    await asyncio.gather(*(feed(service, body) for body in junk))
    await good.follows(dialect)


@settings(thorough, max_examples=150)
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


@thorough
@given(document=MUTATED | JSON | st.binary(max_size=100))
async def test_without_a_token_nothing_opens_and_nothing_breaks(
    untouched: Target, document: Any
) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        answer = await send(untouched.service, body, {})
    assert answer.status in (401, 403)


# -- what SNS signs, bent ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Subscribed(Target):
    """An API that takes what SNS signs, and SNS."""

    amazon: Amazon

    async def post(self, document: Any) -> int:
        """Post as SNS does; returns the answer's status."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            return (await send(self.service, json.dumps(document).encode(), {})).status

    def sign(self, document: Any) -> Any:
        """Have SNS sign a message; it stays as it is if it cannot be signed."""
        try:
            return self.amazon.sign(document)
        except UnicodeEncodeError:  # half a character
            return document


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def subscribed(stack: Stack) -> AsyncIterator[Subscribed]:
    """One such API for the whole module."""
    async with (
        running_amazon() as amazon,
        running_service(
            stack,
            await clone_database(stack),
            amazon.connector(),
            sns_topics=TOPIC,
            sns_signature_versions="1,2",
        ) as service,
    ):
        yield Subscribed(service=service, row=await new_row(service), amazon=amazon)


@pytest_asyncio.fixture(loop_scope="session")
async def unchanged(subscribed: Subscribed) -> AsyncIterator[Subscribed]:
    """The same, and proof that the test changed no attachment."""
    before = await subscribed.rows()
    yield subscribed
    assert await subscribed.rows() == before


OF_SNS = [of_no_attachment(sample) for name, sample in SAMPLES.items() if name.startswith("sns-")]
BENDS = st.sampled_from(OF_SNS).flatmap(
    lambda sample: st.tuples(st.just(sample), st.sampled_from(places(sample)), JSON)
)


def sent_now(document: Any) -> Any:
    """Copy a message as one of this moment."""
    return {**document, "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"}


@pytest.mark.parametrize("document", OF_SNS, ids=lambda document: document["Type"])
async def test_what_is_bent_below_is_taken_as_long_as_it_is_straight(
    unchanged: Subscribed, document: Any
) -> None:
    async def taken() -> bool:
        return await unchanged.post(unchanged.sign(sent_now(document))) == 200

    await until(taken)  # at once, unless this machine is too busy to play Amazon


@settings(thorough, max_examples=200)
@given(bend=BENDS, signed_before=st.booleans())
async def test_no_bent_message_of_sns_is_a_fault_or_changes_a_row(
    unchanged: Subscribed, bend: tuple[Any, tuple[Any, ...], Any], signed_before: bool
) -> None:
    straight, place, value = bend
    document = sent_now(straight)
    if signed_before:
        document = put(unchanged.sign(document), place, value)
    else:
        document = unchanged.sign(put(document, place, value))
    assert await unchanged.post(document) in (200, 401, 403, 503)


@thorough
@given(inner=MUTATED | JSON)
async def test_whatever_sns_signs_is_taken_and_no_bent_event_in_it_changes_a_row(
    unchanged: Subscribed, inner: Any
) -> None:
    document = {**sent_now(of_no_attachment(SAMPLES["sns-v2"])), "Message": json.dumps(inner)}
    assert await unchanged.post(unchanged.sign(document)) in (200, 503)
