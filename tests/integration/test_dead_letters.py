"""Dead letters: what comes authenticated and cannot be used is kept as it came, in bounds."""

import asyncio
import gzip
import json
import secrets
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from shared import dead_letters
from shared.dead_letters import DeadLetter
from tests.support.databases import clone_database
from tests.support.dialects import BATCHING, Dialect, sample
from tests.support.events import EVENTS, RECORDED, new_row, send
from tests.support.service import Answer, Service, running_service, until
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack
from tests.support.starting import StartService

UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}
TOKEN = {"Authorization": f"Bearer {EVENTS_TOKEN}"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_service(stack: Stack) -> AsyncIterator[Service]:
    """One API for the whole module."""
    async with running_service(stack, await clone_database(stack)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: Service) -> Service:
    """The same, with no dead letters yet."""
    await shared_service.execute("TRUNCATE dead_letters")
    return shared_service


async def letters(service: Service) -> list[tuple[DeadLetter, bytes]]:
    """Read all dead letters, the newest first."""
    async with service.database.acquire() as connection:
        found = []
        for letter in await dead_letters.list_newest(connection, limit=1000):
            whole = await dead_letters.find(connection, letter.id)
            assert whole is not None
            assert whole[0] == letter
            found.append(whole)
    return found


async def the_letter(service: Service) -> tuple[DeadLetter, bytes]:
    """Read the only dead letter."""
    (only,) = await letters(service)
    return only


async def refuse_to_read(
    service: Service, body: bytes, headers: Mapping[str, str] | None = None, path: str = EVENTS
) -> None:
    """Post what cannot be read; it is answered as taken."""
    sent = {**TOKEN, **(headers or {})} if path == EVENTS else headers or {}
    answer = await send(service, body, sent, path)
    assert (answer.status, answer.document["meta"]) == (200, UNREADABLE)


# -- kept as it came ---------------------------------------------------------------------------

NO_JSON = "the body is not JSON"
NO_DIALECT = "no dialect knows this message"

BODIES: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, NO_JSON),
    "words": (b"disk full on node 7", None, NO_JSON),
    "white-space": (b" \r\n\t ", None, NO_JSON),
    "nul": (b"\0", None, NO_JSON),
    "nul-within": (b'{"Records":["\0"]}', None, NO_JSON),
    "no-utf-8": (b"\xff\xfe\x00\xd8", None, NO_JSON),
    "no-utf-8-within": (b'{"Records":["\xff"]}', None, NO_JSON),
    "every-byte": (bytes(range(256)), None, NO_JSON),
    "byte-order-mark": (b'\xef\xbb\xbf{"Records":[]}', None, NO_JSON),
    "lone-surrogate": (b'{"Records":["\\ud800"]}', None, NO_JSON),
    "deep": (b"[" * 100_000 + b"]" * 100_000, None, NO_JSON),
    "cut-short": (b'{"Records":[{"eventSource":"aws:s3"', None, NO_JSON),
    "escaped-nul": (b'"\\u0000"', None, NO_DIALECT),
    "spaces-and-order": (b'{ "b" : 1,\n "a":2.50, "b":1 }', None, NO_DIALECT),
    "null": (b"null", None, NO_DIALECT),
    "of-no-store": (b'{"zen":"Keep it logically awesome."}', None, NO_DIALECT),
    "unknown-source": (b'{"Records":[{"eventSource":"x:s3"}]}', None, NO_DIALECT),
    "aws": (
        b'{"Records":[{"eventSource":"aws:s3"}]}',
        "aws",
        "there is no eventName",
    ),
    "minio": (
        b'{"Records":[{"eventSource":"minio:s3","eventName":5}]}',
        "minio",
        "eventName is not a string",
    ),
    "rustfs": (
        b'{"Records":[{"eventSource":"rustfs:s3","eventName":"ObjectCreated:Put"}]}',
        "rustfs",
        "there is no s3",
    ),
    "ceph": (
        b'{"Records":[{"eventSource":"ceph:s3","eventName":"ObjectRemoved:x","s3":{}}]}',
        "ceph",
        "there is no object",
    ),
    "versitygw": (
        b'[{"s3":{"configurationId":"webhook-global"}}]',
        "versitygw",
        "there is no eventName",
    ),
    "eventbridge": (
        b'{"source":"aws.s3","detail-type":"Object Created"}',
        "eventbridge",
        "there is no detail",
    ),
    "seaweedfs": (
        b'{"event_type":"create","message":{}}',
        "seaweedfs",
        "key, event_type or message has the wrong type",
    ),
    "sns": (
        json.dumps({**sample("sns-v2"), "Message": "\0 no json"}).encode(),
        "sns",
        "the message in SNS's envelope is not JSON",
    ),
    "aws-in-sns": (
        json.dumps({**sample("sns-v2"), "Message": '{"Records":[5]}'}).encode(),
        "sns/aws",
        "there is no eventName",
    ),
    "nul-in-an-etag": (
        json.dumps(sample("aws"))
        .replace('"b"', f'"{BUCKET}"')
        .replace("86c489dfa7e78a487a06b1860805b086", "a\\u0000b")
        .encode(),
        "aws",
        "etag or version is no plain text",
    ),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_is_kept_byte_for_byte(service: Service, case: str) -> None:
    body, dialect, reason = BODIES[case]
    await refuse_to_read(service, body)
    letter, kept = await the_letter(service)
    assert kept == body
    assert (letter.source, letter.dialect, letter.reason) == ("webhook", dialect, reason)
    assert (letter.count, letter.size) == (1, len(body))
    assert letter.first_at == letter.last_at


async def test_the_largest_body_is_kept(service: Service) -> None:
    body = b"x" * 1024 * 1024
    await refuse_to_read(service, body)
    assert (await the_letter(service))[1] == body


async def test_half_a_million_bad_records_are_one_letter_and_one_line(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"Records":[' + b"0," * 500_000 + b"0]}"
    answer = await send(service, body)
    assert answer.document["meta"] == {**UNREADABLE, "unreadable": 500_001}
    assert (await the_letter(service))[0].count == 1
    assert capsys.readouterr().out.count("unreadable event") == 1


@pytest.mark.parametrize("dialect", BATCHING, ids=lambda dialect: f"row61-{dialect.name}")
async def test_of_a_message_in_part_unreadable_the_rest_counts(
    service: Service, dialect: Dialect
) -> None:
    rows = [await new_row(service) for _ in range(2)]
    good = [dialect.tell(BUCKET, row.key, etag="e1") for row in rows]
    bad = dialect.tell(BUCKET, rows[0].key)
    bad["s3"]["object"]["key"] = 5
    body = json.dumps(dialect.message(good[0], bad, good[1])).encode()
    answer = await send(service, body)
    assert answer.document["meta"] == {**RECORDED, "recorded": 2, "unreadable": 1}
    assert [(await service.row(row.id)).state for row in rows] == ["uploaded"] * 2
    letter, kept = await the_letter(service)
    assert (letter.dialect, letter.reason) == (dialect.label, "key is not a string")
    assert kept == body


async def test_what_only_does_not_concern_us_is_not_kept(service: Service) -> None:
    for document in (sample("aws"), sample("aws-test-event"), sample("versitygw-form")):
        assert (await send(service, json.dumps(document).encode())).status == 200
    assert await letters(service) == []


async def test_what_is_not_authenticated_is_not_kept(service: Service) -> None:
    for body in (b"no json", json.dumps(sample("sns-v2")).encode(), b'{"Records":[5]}'):
        assert (await send(service, body, {})).status in (401, 403)
    assert await letters(service) == []


# -- compressed --------------------------------------------------------------------------------

CUT = gzip.compress(b"no json", mtime=0)[:-3]


@pytest.mark.parametrize(
    ("body", "encoding", "kept"),
    [
        pytest.param(gzip.compress(b"no json"), "gzip", b"no json", id="gzip"),
        pytest.param(zlib.compress(b"no json"), "deflate", b"no json", id="deflate"),
        pytest.param(b"no gzip \0\xff", "gzip", b"no gzip \0\xff", id="no-gzip"),
        pytest.param(b"", "gzip", b"", id="empty"),
        pytest.param(CUT, "gzip", CUT, id="cut-short"),
        pytest.param(b'{"Records":[]}', "klingon", b'{"Records":[]}', id="unknown-encoding"),
    ],
)
async def test_a_compressed_body_is_kept_readable_if_it_can_be(
    service: Service, body: bytes, encoding: str, kept: bytes
) -> None:
    await refuse_to_read(service, body, {"Content-Encoding": encoding})
    letter, found = await the_letter(service)
    assert found == kept
    expected = NO_JSON if kept == b"no json" else "the body cannot be decompressed"
    assert (letter.dialect, letter.reason) == (None, expected)


async def test_a_compressed_message_and_a_plain_one_are_one_letter(service: Service) -> None:
    await refuse_to_read(service, b"no json")
    await refuse_to_read(service, gzip.compress(b"no json"), {"Content-Encoding": "gzip"})
    assert (await the_letter(service))[0].count == 2


# -- once each, in bounds ----------------------------------------------------------------------


async def test_a_repeated_message_is_counted(service: Service) -> None:
    await refuse_to_read(service, b"again")
    first, _ = await the_letter(service)
    for _ in range(3):
        await refuse_to_read(service, b"again")
    letter, _ = await the_letter(service)
    assert (letter.id, letter.count) == (first.id, 4)
    assert letter.first_at == first.first_at
    assert letter.last_at > first.last_at


async def test_one_message_that_comes_many_times_at_once_is_one_letter(service: Service) -> None:
    await asyncio.gather(*(refuse_to_read(service, b"again") for _ in range(30)))
    assert (await the_letter(service))[0].count == 30


async def test_no_more_are_kept_than_set_and_the_oldest_go(start_service: StartService) -> None:
    service = await start_service(dead_letters="3")
    for number in range(5):
        await refuse_to_read(service, b"%d" % number + b" no json")
    assert [body[:1] for _, body in await letters(service)] == [b"4", b"3", b"2"]
    # what comes again is not old any more
    await refuse_to_read(service, b"2 no json")
    await refuse_to_read(service, b"5 no json")
    assert sorted(body[:1] for _, body in await letters(service)) == [b"2", b"4", b"5"]


async def test_many_at_once_stay_in_bounds(start_service: StartService) -> None:
    service = await start_service(dead_letters="5")
    bodies = [b"%d no json" % number for number in range(40)]
    await asyncio.gather(*(refuse_to_read(service, body) for body in bodies * 2))
    # those that several took at once are pruned with the next
    await refuse_to_read(service, b"the next")
    kept = await letters(service)
    assert len(kept) == 5
    assert b"the next" in [body for _, body in kept]


async def test_none_is_kept_longer_than_set(start_service: StartService) -> None:
    service = await start_service(dead_letter_age="3600")
    for body in (b"old", b"young"):
        await refuse_to_read(service, body)
    await service.execute(
        "UPDATE dead_letters SET last_at = now() - interval '61 minutes' WHERE body = $1", b"old"
    )
    await service.execute(
        "UPDATE dead_letters SET last_at = now() - interval '59 minutes' WHERE body = $1", b"young"
    )
    await refuse_to_read(service, b"new")
    assert sorted(body for _, body in await letters(service)) == [b"new", b"young"]


async def test_letters_are_listed_a_page_at_a_time(service: Service) -> None:
    for number in range(5):
        await refuse_to_read(service, b"%d no json" % number)
    async with service.database.acquire() as connection:
        first = await dead_letters.list_newest(connection, limit=2)
        second = await dead_letters.list_newest(connection, limit=2, before=first[-1].id)
        third = await dead_letters.list_newest(connection, limit=2, before=second[-1].id)
        assert await dead_letters.list_newest(connection, limit=2, before=third[-1].id) == []
        ids = [letter.id for letter in first + second + third]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 5
        assert await dead_letters.find(connection, ids[0] + 1) is None
        await dead_letters.remove(connection, ids[:3])
        await dead_letters.remove(connection, ids[:3])
        left = await dead_letters.list_newest(connection, limit=9)
    assert [letter.id for letter in left] == ids[3:]


# -- while the database is away ----------------------------------------------------------------


@asynccontextmanager
async def database_away(service: Service) -> AsyncIterator[None]:
    """Have the service's database be gone, under another name, for a while."""
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    name = url.rpartition("/")[2].partition("?")[0]
    connection = await asyncpg.connect(service.stack.postgres.url)

    async def rename(old: str, new: str) -> bool:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", old
        )
        try:
            await connection.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
        except asyncpg.ObjectInUseError:  # someone was faster to come back
            return False
        return True

    try:
        await until(partial(rename, name, f"{name}_away"))
        yield
    finally:
        await until(partial(rename, f"{name}_away", name))
        await connection.close()


async def test_while_the_database_is_away_the_source_keeps_the_message(service: Service) -> None:
    row = await new_row(service)
    aws = BATCHING[0]
    told = aws.tell(BUCKET, row.key, etag="e1")
    mixed = json.dumps(aws.message(told, {"eventSource": "aws:s3"})).encode()
    bodies = [b"no json \0", mixed]
    async with database_away(service):
        for body in bodies:
            answer = await send(service, body)
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        garbage = await send(service, b"x", {**TOKEN, "Content-Encoding": "gzip"})
        assert garbage.status == 503

    async def taken(body: bytes) -> Answer | None:
        try:
            answer = await send(service, body)
        except OSError:
            return None
        return answer if answer.status == 200 else None

    for body in bodies:
        await until(partial(taken, body))
    assert (await service.row(row.id)).state == "uploaded"
    found = {body: letter.count for letter, body in await letters(service)}
    assert found == dict.fromkeys(bodies, 1)


async def test_what_cannot_be_kept_has_no_effect_in_part(service: Service) -> None:
    row = await new_row(service)
    aws = BATCHING[0]
    told = aws.tell(BUCKET, row.key, etag="e1")
    mixed = json.dumps(aws.message(told, {"eventSource": "aws:s3"})).encode()
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
        answer = await send(service, mixed)
        assert answer.status == 503
        assert (await service.row(row.id)).state == "pending"
        # what leaves nothing to keep does not wait
        other = await new_row(service)
        whole = json.dumps(aws.message(aws.tell(BUCKET, other.key, etag="e1"))).encode()
        assert (await send(service, whole)).document["meta"] == RECORDED

    async def kept() -> Any:
        return (await send(service, mixed)).status == 200 and await letters(service)

    await until(kept)
    assert (await service.row(row.id)).state == "uploaded"


# -- secrets -----------------------------------------------------------------------------------


async def test_neither_token_nor_body_is_told_to_anyone(
    start_service: StartService, capsys: pytest.CaptureFixture[str]
) -> None:
    token, password = secrets.token_hex(16), secrets.token_hex(16)
    service = await start_service(events_tokens=f"{token},{password}")
    path = f"{EVENTS}/{token}"
    for body in (b"no json: words-of-a-person", b'{"Records":["words-of-a-person"]}'):
        await refuse_to_read(service, body, {"Authorization": f"Bearer {password}"}, path)
        async with database_away(service):
            answer = await send(service, body, {}, path)
            assert answer.status == 503
            assert token not in answer.body.decode()
    wrong = await send(service, b"x", {}, f"{path}0")
    assert wrong.status == 401
    assert token not in wrong.body.decode()

    rows = await service.database.fetch(
        "SELECT d::text || encode(d.body, 'escape') FROM dead_letters AS d"
    )
    stored = "".join(row[0] for row in rows)
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    metrics = service.metrics()
    assert "unreadable event" in logged
    for secret in (token, password):
        assert secret not in stored
        assert secret not in logged
        assert secret not in metrics
    assert "words-of-a-person" in stored
    assert "words-of-a-person" not in logged
