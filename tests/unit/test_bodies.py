"""The API reads request bodies up to a maximum size.

Organizations take turns when large bodies are read.
"""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from api.bodies import SHORT_BYTES, inflate, read_json, read_raw
from api.problems import Problem
from api.readers import Readers
from shared.errors import Busy
from shared.turns import Turns
from tests.support.bodies import make_request, status_of


async def read_pieces(body: bytes, *headers: tuple[str, str], max_bytes: int = 1000) -> bytes:
    """Read a request body that arrives in pieces of 7 bytes, and return it."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    for start in range(0, len(body), 7):
        stream.feed_data(body[start : start + 7])
    stream.feed_eof()
    asked = make_request(*headers, payload=stream)
    return inflate(asked, await read_raw(asked, max_bytes=max_bytes), max_bytes=max_bytes)


GZIP, DEFLATE = ("Content-Encoding", "gzip"), ("Content-Encoding", "deflate")


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
async def test_a_body_within_the_limit_is_read(size: int) -> None:
    assert await read_pieces(b"a" * size) == b"a" * size
    assert await read_pieces(gzip.compress(b"a" * size), GZIP) == b"a" * size
    assert await read_pieces(zlib.compress(b"a" * size), DEFLATE) == b"a" * size


@pytest.mark.parametrize("header", [("Content-Encoding", "GZIP"), ("Content-Encoding", "identity")])
async def test_an_encoding_is_known_in_any_case(header: tuple[str, str]) -> None:
    body = gzip.compress(b"a") if header[1] == "GZIP" else b"a"
    assert await read_pieces(body, header) == b"a"


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
        await read_pieces(body, *headers)
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
async def test_a_body_of_another_encoding_is_refused(
    body: bytes, header: tuple[str, str], status: int
) -> None:
    with pytest.raises(Problem) as problem:
        await read_pieces(body, header)
    assert status_of(problem) == status


async def test_an_unknown_encoding_beside_a_known_one_is_415() -> None:
    with pytest.raises(Problem) as problem:
        await read_pieces(gzip.compress(b"a"), GZIP, ("Content-Encoding", "br"))
    assert status_of(problem) == 415


async def given_to(
    readers: Readers,
    body: bytes,
    *headers: tuple[str, str],
    check: Callable[[Any], Any] = lambda document: document,
) -> Any:
    """Return the JSON document of a request whose whole body has already arrived."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    asked = make_request(*headers, payload=stream)
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
