"""An unreadable message is stored unchanged as a dead letter."""

import gzip
import json
import zlib

import pytest

from tests.support.dead_letters import UNREADABLE, letters, refuse_to_read, the_letter
from tests.support.dialects import BATCHING, Dialect, sample
from tests.support.events import RECORDED, new_row, send
from tests.support.service import Service
from tests.support.stack import BUCKET

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
        "etag or version is not plain text",
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
    service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may need more time to parse the body than the API usually allows.
    monkeypatch.setattr("api.events.RECORD_WITHIN_S", 30.0)
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
    good = [dialect.make_event(BUCKET, row.key, etag="e1") for row in rows]
    bad = dialect.make_event(BUCKET, rows[0].key)
    bad["s3"]["object"]["key"] = 5
    body = json.dumps(dialect.message(good[0], bad, good[1])).encode()
    answer = await send(service, body)
    assert answer.document["meta"] == {**RECORDED, "recorded": 2, "unreadable": 1}
    assert [(await service.row(row.id)).state for row in rows] == ["uploaded"] * 2
    letter, kept = await the_letter(service)
    assert (letter.dialect, letter.reason) == (dialect.label, "key is not a string")
    assert kept == body


async def test_a_message_about_foreign_objects_is_not_kept(service: Service) -> None:
    for document in (sample("aws"), sample("aws-test-event"), sample("versitygw-form")):
        assert (await send(service, json.dumps(document).encode())).status == 200
    assert await letters(service) == []


async def test_an_unauthenticated_message_is_not_kept(service: Service) -> None:
    for body in (b"no json", json.dumps(sample("sns-v2")).encode(), b'{"Records":[5]}'):
        assert (await send(service, body, {})).status in (401, 403)
    assert await letters(service) == []


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
