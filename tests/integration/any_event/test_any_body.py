"""Events with any body: no body causes an error answer or changes a row."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from api.events import RECORD_WITHIN_S
from shared import intake
from shared.database import Database
from shared.keys import MAX_ID, original_key
from shared.notifications import read
from tests.support.any_event import ANSWERED_WITHIN_S, JSON, MESSAGES, MUTATED, TEXT, feed, thorough
from tests.support.dialects import AWS, SAMPLES
from tests.support.events import EVENTS, Target, message, record, send
from tests.support.proxy import running_proxy
from tests.support.service import until
from tests.support.service_processes import ApiProcess
from tests.support.stack import BUCKET, EVENTS_TOKEN
from tests.support.starting import StartService


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """Return the module's API; assert afterwards that the test has changed no row."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


# The key of an attachment that does not exist.
UNKNOWN = original_key(MAX_ID, "a_b.png")


def test_the_messages_are_of_our_bucket_and_of_no_attachment() -> None:
    keys = {event.key for each in MESSAGES for event in read(each, bucket=BUCKET).events}
    assert keys == {UNKNOWN}
    reported = [sample for sample in SAMPLES.values() if read(sample, bucket="b").events]
    assert len([each for each in MESSAGES if read(each, bucket=BUCKET).events]) == len(reported)


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
        AWS.message(AWS.make_event(BUCKET, UNKNOWN + "%41" * 300_000, encoded=True))
    ).encode(),
    "one-etag": json.dumps(
        AWS.message(AWS.make_event(BUCKET, UNKNOWN, etag="a" * 900_000))
    ).encode(),
    "one-sequencer": json.dumps(
        AWS.message(AWS.make_event(BUCKET, UNKNOWN, etag="a", sequencer="A" * 900_000))
    ).encode(),
}


@pytest.mark.parametrize("case", WIDE)
async def test_no_wide_document_is_a_fault(
    untouched: Target, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Usually the API stops recording after fewer seconds, so that the sender gets an answer in
    # time. But a busy machine may need longer to parse some of these messages.
    monkeypatch.setattr("api.events.RECORD_WITHIN_S", 30.0)
    answer = await feed(untouched.service, WIDE[case])
    assert answer.document["meta"]["recorded"] == 0


CROWD = 32
"""The number of wide documents that are sent at the same time.

The sender of an event waits long enough for the parsing of one such document, but not of all of
them.
"""


async def test_the_time_for_reading_counts_against_the_timeout(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    run_within = Database.run_within

    async def watch(database: Database, timeout_s: float, function: Any, *rest: Any) -> Any:
        # Other functions, such as the token check, are not measured.
        if function is intake.record:
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
    # A path with a brace matches no route, so the answer is 404.
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
