"""Bodies are read within bounds and strictly; media types by JSON:API's rules."""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from api.bodies import MAX_MARKS, SHORT_BYTES, inflate, parse_json, read_json, read_raw
from api.negotiation import check_accept, check_content_type
from api.problems import MEDIA_TYPE, Problem
from api.readers import Readers
from shared.errors import Busy
from shared.turns import Turns

BULK = f"{MEDIA_TYPE}; ext=bulk"


def request(*headers: tuple[str, str], payload: Any = None) -> web.Request:
    """Make a request with these headers, repeated ones too."""
    extra = {} if payload is None else {"payload": payload}
    return make_mocked_request("POST", "/api/v2/attachments", headers=CIMultiDict(headers), **extra)


async def read(body: bytes, *headers: tuple[str, str], max_bytes: int = 1000) -> bytes:
    """Read a body that has come in small pieces."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    for start in range(0, len(body), 7):
        stream.feed_data(body[start : start + 7])
    stream.feed_eof()
    asked = request(*headers, payload=stream)
    return inflate(asked, await read_raw(asked, max_bytes=max_bytes), max_bytes=max_bytes)


def status_of(problem: pytest.ExceptionInfo[Problem]) -> int:
    """Tell the status of what was raised."""
    return problem.value.status


# -- reading ------------------------------------------------------------------------------------

GZIP, DEFLATE = ("Content-Encoding", "gzip"), ("Content-Encoding", "deflate")


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
async def test_a_body_within_the_limit_is_read(size: int) -> None:
    assert await read(b"a" * size) == b"a" * size
    assert await read(gzip.compress(b"a" * size), GZIP) == b"a" * size
    assert await read(zlib.compress(b"a" * size), DEFLATE) == b"a" * size


@pytest.mark.parametrize("header", [("Content-Encoding", "GZIP"), ("Content-Encoding", "identity")])
async def test_an_encoding_is_known_in_any_case(header: tuple[str, str]) -> None:
    body = gzip.compress(b"a") if header[1] == "GZIP" else b"a"
    assert await read(body, header) == b"a"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"a" * 1001, [], id="plain"),
        pytest.param(b"", [("Content-Length", "1001")], id="by-its-length"),
        pytest.param(gzip.compress(b"a" * 1001), [GZIP], id="gzip"),
        pytest.param(gzip.compress(b"a" * 10_000_000)[:900], [GZIP], id="bomb-cut-short"),
        pytest.param(zlib.compress(b"a" * 1001), [DEFLATE], id="deflate"),
    ],
)
async def test_a_body_over_the_limit_is_413(body: bytes, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as problem:
        await read(body, *headers)
    assert status_of(problem) == 413


@pytest.mark.parametrize(
    ("body", "header", "status"),
    [
        pytest.param(b"no gzip", GZIP, 400, id="no-gzip"),
        pytest.param(b"", GZIP, 400, id="empty"),
        pytest.param(gzip.compress(b"abc")[:-1], GZIP, 400, id="cut-short"),
        pytest.param(gzip.compress(b"abc") + b"x", GZIP, 400, id="more-after"),
        pytest.param(gzip.compress(b"a") * 2, GZIP, 400, id="two-members"),
        pytest.param(zlib.compress(b"abc")[:-4] + b"0000", DEFLATE, 400, id="checksum"),
        pytest.param(b"abc", ("Content-Encoding", "br"), 415, id="unknown"),
        pytest.param(b"abc", ("Content-Encoding", "gzip, gzip"), 415, id="twice"),
    ],
)
async def test_what_is_not_what_its_encoding_says_is_refused(
    body: bytes, header: tuple[str, str], status: int
) -> None:
    with pytest.raises(Problem) as problem:
        await read(body, header)
    assert status_of(problem) == status


async def test_an_unknown_encoding_beside_a_known_one_is_415() -> None:
    with pytest.raises(Problem) as problem:
        await read(gzip.compress(b"a"), GZIP, ("Content-Encoding", "br"))
    assert status_of(problem) == 415


# -- JSON ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(value=VALUES, spaced=st.booleans(), escaped=st.booleans())
def test_json_is_read_as_it_was_written(value: Any, spaced: bool, escaped: bool) -> None:
    text = json.dumps(value, indent=1 if spaced else None, ensure_ascii=escaped)
    try:
        body = text.encode()
    except UnicodeEncodeError:  # a lone surrogate can be written with an escape only
        body = json.dumps(value).encode()
    assert parse_json(body) == value


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from('[]{}":,\\u0019dEe.-+tfn NI'), max_size=60).map(str.encode)
)
def test_no_bytes_make_reading_json_fail_otherwise(body: bytes) -> None:
    try:
        parse_json(body)
    except Problem as problem:
        status = problem.status
    else:
        return
    assert status == 400


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_nesting_is_read_up_to_64_levels(depth: int) -> None:
    parse_json(b"[" * depth + b"]" * depth)
    parse_json(b'{"a":' * depth + b"1" + b"}" * depth)


def test_brackets_in_strings_are_no_depth() -> None:
    text = "[" * 500 + '\\"' + "{" * 500
    assert parse_json(json.dumps({"a": text, "b": [text]}).encode()) == {"a": text, "b": [text]}
    wide: list[Any] = [[]] * 500
    assert parse_json(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"]",
        b"nul",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"'a'",
        b"[1,]",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\x00"',
        b'"\n"',
        b'"\\x41"',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"[1e999]",
        b"1" * 41,
        b"-" + b"1" * 41,
        b"1" * 5000,
        b"1" * 5000 + b".0",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"b":{"a":1,"a":2}}]',
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'["\\"",' + b"[" * 100,
    ],
)
def test_what_is_no_strict_json_is_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parse_json(body)
    assert status_of(problem) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 20_000 + b"[]]",
        b"[" + b"1," * 40_000 + b"1]",
        b"[" * 1_000_000,
        b"[" + b'"",' * 300_000 + b'""]',
        b'[{"' + b'\\"' * 1000 + b'":1},' + b"0," * 40_000 + b"0]",
    ],
)
def test_more_marks_than_a_bulk_request_needs_are_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parse_json(body)
    assert status_of(problem) == 400
    assert str(MAX_MARKS) in problem.value.errors[0]["detail"]


@pytest.mark.parametrize(
    "text", ["," * 100_000, '\\"[' * 60_000, "\\\\" * 60_000, "[{" * 60_000, "é\n" * 60_000]
)
def test_what_is_in_strings_is_no_structure(text: str) -> None:
    value = {"a": [text, {"b": text}]}
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_a_resource_as_it_is_shown_may_be_sent_a_hundred_times() -> None:
    shown = {
        "id": "1",
        "type": "attachments",
        "meta": {str(n): n for n in range(10)},
        "attributes": {str(n): {"policy": [n]} for n in range(20)},
        "relationships": {str(n): {"data": {"type": "a", "id": "1"}} for n in range(13)},
    }
    assert parse_json(json.dumps({"data": [shown] * 100}).encode()) == {"data": [shown] * 100}


async def given_to(
    readers: Readers,
    body: bytes,
    *headers: tuple[str, str],
    check: Callable[[Any], Any] = lambda document: document,
) -> Any:
    """Read a document that has come whole."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    asked = request(*headers, payload=stream)
    return await read_json(asked, readers, 1, max_bytes=2**20, check=check)


async def test_long_and_compressed_documents_are_read_in_turn_and_short_ones_at_once() -> None:
    long = json.dumps(["a" * SHORT_BYTES]).encode()
    readers = Readers(reading=Turns(1, each=1, wait_s=0.01))
    assert await given_to(readers, long) == json.loads(long)
    assert await given_to(readers, gzip.compress(long), GZIP) == json.loads(long)
    await readers.reading.take("another")
    assert await given_to(readers, b"[1]") == [1]
    for body, headers in ((long, []), (gzip.compress(b"[1]"), [GZIP])):
        with pytest.raises(Busy):
            await given_to(readers, body, *headers)


@pytest.mark.parametrize("encoded", [False, True])
async def test_a_long_document_is_checked_beside_the_event_loop(encoded: bool) -> None:
    long = json.dumps(["a" * SHORT_BYTES]).encode()
    body, headers = (gzip.compress(long), [GZIP]) if encoded else (long, [])

    def thread(_document: Any) -> int:
        return threading.get_ident()

    assert await given_to(Readers(), body, *headers, check=thread) != threading.get_ident()
    assert await given_to(Readers(), b"[1]", check=thread) == threading.get_ident()

    def refuse(_document: Any) -> None:
        raise Problem(422, [])

    with pytest.raises(Problem) as problem:
        await given_to(Readers(), body, *headers, check=refuse)
    assert status_of(problem) == 422


async def test_a_bomb_is_refused_and_leaves_its_turn() -> None:
    readers = Readers(reading=Turns(1, each=1, wait_s=0.01))
    for _ in range(3):
        with pytest.raises(Problem) as problem:
            await given_to(readers, gzip.compress(b"[" * 1_000_000), GZIP)
        assert status_of(problem) == 400
        with pytest.raises(Problem) as problem:
            await given_to(readers, gzip.compress(b"[" * 10_000_000), GZIP)
        assert status_of(problem) == 413


# -- media types --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "bulk"),
    [
        (MEDIA_TYPE, False),
        (MEDIA_TYPE.upper(), False),
        (f"  {MEDIA_TYPE} ", False),
        (f"{MEDIA_TYPE};", False),
        (f'{MEDIA_TYPE}; profile="https://a/b"', False),
        (BULK, True),
        (f'{MEDIA_TYPE};ext="bulk"', True),
        (f"{MEDIA_TYPE}; EXT=bulk", True),
        (f"{MEDIA_TYPE}; ext=bulk; profile=x", True),
        (f"{MEDIA_TYPE}; charset=utf-8", False),
        (f'{MEDIA_TYPE};CHARSET="UTF-8"', False),
        (f"{BULK}; charset=utf-8", True),
        (f"{MEDIA_TYPE}; charset=UTF-8; ext=bulk", True),
        (f'{MEDIA_TYPE}; profile="https://a/b;c https://d/e,f"', False),
        (f'{MEDIA_TYPE}; profile="a\\"; ext=other"; ext="bu\\lk"', True),
        (f'{MEDIA_TYPE}; ext=""', False),
        (f'{MEDIA_TYPE}; ext="bulk bulk"', True),
    ],
)
def test_a_content_type_of_ours_is_taken(content_type: str, bulk: bool) -> None:
    assert check_content_type(request(("Content-Type", content_type))) is bulk


@pytest.mark.parametrize(
    "content_types",
    [
        [],
        [""],
        ["application/json"],
        ["text/plain"],
        [f"{MEDIA_TYPE}x"],
        [f"{MEDIA_TYPE}; charset=klingon"],
        [f"{MEDIA_TYPE}; charset="],
        [f"{MEDIA_TYPE}; charset=iso-8859-1"],
        [f'{MEDIA_TYPE}; profile="a'],
        [f'{MEDIA_TYPE}; profile="a"b'],
        [f'{MEDIA_TYPE}; profile="a"; ext=other'],
        [f"{MEDIA_TYPE}; version=1"],
        [f"{MEDIA_TYPE}; ext=other"],
        [f'{MEDIA_TYPE}; ext="bulk other"'],
        [f"{BULK}; charset=latin1"],
        [MEDIA_TYPE, MEDIA_TYPE],
        [f"{MEDIA_TYPE}, {MEDIA_TYPE}"],
    ],
)
def test_any_other_content_type_is_415(content_types: list[str]) -> None:
    with pytest.raises(Problem) as problem:
        check_content_type(request(*[("Content-Type", value) for value in content_types]))
    assert status_of(problem) == 415


@pytest.mark.parametrize(
    "accepts",
    [
        [],
        ["*/*"],
        ["application/*"],
        [MEDIA_TYPE],
        [MEDIA_TYPE.upper()],
        [BULK],
        ["text/html", MEDIA_TYPE],
        [f"text/html, {MEDIA_TYPE}"],
        [f"{MEDIA_TYPE}; q=0.001"],
        [f"{MEDIA_TYPE}; charset=utf-8, {MEDIA_TYPE}"],
        [f"{MEDIA_TYPE};q=0, */*;q=0.1"],
        ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        [f'{MEDIA_TYPE}; profile="https://a/b"'],
        [f'{MEDIA_TYPE}; profile="https://a/b,c;d"'],
        [f'text/html;a=",{MEDIA_TYPE}x,", */*'],
        [f'{MEDIA_TYPE}; profile="\\",\\""; q=0.5'],
        ['text/html;a="', MEDIA_TYPE],
    ],
)
def test_an_accept_that_takes_our_type_is_met(accepts: list[str]) -> None:
    check_accept(request(*[("Accept", value) for value in accepts]))


@pytest.mark.parametrize(
    "accepts",
    [
        ["text/html"],
        ["application/json"],
        ["image/*"],
        [f"{MEDIA_TYPE};q=0"],
        [f"{MEDIA_TYPE};q=0.000"],
        ["*/*;q=0"],
        [f"{MEDIA_TYPE}; charset=utf-8"],
        [f"{MEDIA_TYPE}; ext=other"],
        ["?"],
        [f"{MEDIA_TYPE}x"],
        [",".join(["a/b"] * 100 + ["*/*"])],
        [",".join(['a/b;c="d"'] * 100 + ["*/*"])],
        ["a/b"] * 100 + ["*/*"],
        [f'text/html;a=",{MEDIA_TYPE},"'],
        [f'text/html;a=",{MEDIA_TYPE}'],
        [f'{MEDIA_TYPE}; profile="a";q="0"'],
        ['"' + '\\"' * 4000 + ",*/*"],
    ],
)
def test_an_accept_that_does_not_is_406(accepts: list[str]) -> None:
    with pytest.raises(Problem) as problem:
        check_accept(request(*[("Accept", value) for value in accepts]))
    assert status_of(problem) == 406


@pytest.mark.parametrize("accept", [BULK, "*/*", "application/*"])
def test_a_bulk_answer_goes_to_who_takes_it(accept: str) -> None:
    check_accept(request(("Accept", accept)), bulk=True)


def test_a_bulk_answer_goes_to_no_one_else() -> None:
    with pytest.raises(Problem) as problem:
        check_accept(request(("Accept", MEDIA_TYPE)), bulk=True)
    assert status_of(problem) == 406
