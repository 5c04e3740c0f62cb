"""Raw bodies that are too large, wrongly compressed, endless, or framed in two ways at once."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from api import bodies
from tests.data.bad_bodies import body_of
from tests.support.bad_requests import BODY, LENGTH, Target, assert_refused, exchange, post


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(64 * 1024 + 1, id="row37-one-byte-over"),
        pytest.param(10 * 1024**3, id="row37-10-gb"),
        pytest.param(2**63, id="row37-2-to-the-63"),
    ],
)
async def test_a_body_over_the_limit_is_refused_before_it_is_read(
    untouched: Target, length: int
) -> None:
    # The client gets the answer although it has sent no byte of the body.
    answer = await exchange(untouched, post(b"Content-Length: %d" % length), closes=True)
    assert_refused(answer, 413)


async def test_row37_a_bulk_body_over_its_limit_is_refused(untouched: Target) -> None:
    request = post(b"Content-Length: %d" % (1024 * 1024 + 1)).replace(
        b"vnd.api+json", b"vnd.api+json; ext=bulk"
    )
    assert_refused(await exchange(untouched, request, closes=True), 413)


def chunked(body: bytes, size: int = 8192) -> bytes:
    """Encode a body in the chunked transfer coding."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_row38_a_chunked_body_over_the_limit_is_refused(untouched: Target) -> None:
    request = post(b"Transfer-Encoding: chunked", body=chunked(body_of(x="a" * 70_000)))
    assert_refused(await exchange(untouched, request), 413)


async def test_row38_a_chunked_body_without_end_is_refused(untouched: Target) -> None:
    head = post(b"Transfer-Encoding: chunked")
    pieces = [b"2000\r\n" + b" " * 0x2000 + b"\r\n"] * 12
    assert_refused(await exchange(untouched, head, *pieces, closes=True), 413)


def compressed(encoding: bytes, body: bytes, *headers: bytes) -> bytes:
    """Return a create request whose body is already compressed."""
    return post(
        b"Content-Encoding: " + encoding, b"Content-Length: %d" % len(body), *headers, body=body
    )


BOMB = b'{"a":"' + b" " * 40_000_000 + b'"}'


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        pytest.param(b"gzip", gzip.compress, id="row39-gzip"),
        pytest.param(b"deflate", zlib.compress, id="row39-deflate"),
    ],
)
async def test_a_bomb_is_refused(
    untouched: Target, encoding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    bomb = compress(BOMB)
    assert len(bomb) < 64 * 1024
    assert_refused(await exchange(untouched, compressed(encoding, bomb)), 413)


GOOD_GZIP = gzip.compress(body_of())
DAMAGED = GOOD_GZIP[:20] + bytes([GOOD_GZIP[20] ^ 0xFF]) + GOOD_GZIP[21:]


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param(b"gzip", b"this is no gzip", 400, id="row40-no-gzip"),
        pytest.param(b"gzip", body_of(), 400, id="row40-not-compressed"),
        pytest.param(b"gzip", DAMAGED, 400, id="row40-damaged"),
        pytest.param(b"gzip", GOOD_GZIP[:-8] + b"\0" * 8, 400, id="row40-bad-checksum"),
        pytest.param(b"gzip", GOOD_GZIP[:30], 400, id="row40-cut-short"),
        pytest.param(b"gzip", GOOD_GZIP[:-8], 400, id="row40-no-checksum"),
        pytest.param(b"gzip", GOOD_GZIP + b"more", 400, id="row40-more-after"),
        pytest.param(b"gzip", b"\x1f\x8b", 400, id="row40-two-bytes"),
        pytest.param(b"deflate", b"\x78\x9cgarbage", 400, id="row40-deflate-garbage"),
        pytest.param(b"deflate", zlib.compress(body_of())[:-10], 400, id="row40-deflate-cut-short"),
        pytest.param(b"deflate", zlib.compress(body_of())[:-4] + b"abcd", 400, id="row40-adler"),
        pytest.param(b"gzip, gzip", gzip.compress(GOOD_GZIP), 415, id="row40-gzip-twice"),
        pytest.param(b"br", b"garbage", 415, id="row40-brotli"),
        pytest.param(b"zstd", b"garbage", 415, id="row40-zstd"),
        pytest.param(b"klingon", GOOD_GZIP, 415, id="row40-unknown-encoding"),
    ],
)
async def test_a_body_that_does_not_match_its_encoding_is_refused(
    untouched: Target, encoding: bytes, body: bytes, status: int
) -> None:
    assert_refused(await exchange(untouched, compressed(encoding, body)), status)


CHUNKED = b"Transfer-Encoding: chunked"

FRAMES: dict[str, bytes] = {
    "row41-length-and-chunked": post(LENGTH, CHUNKED, body=chunked(BODY)),
    "row41-chunked-and-length": post(CHUNKED, LENGTH, body=chunked(BODY)),
    "row41-two-lengths": post(LENGTH, b"Content-Length: 5", body=BODY),
    "row41-same-length-twice": post(LENGTH, LENGTH, body=BODY),
    "row41-length-list": post(LENGTH + b", %d" % len(BODY), body=BODY),
    "row41-negative-length": post(b"Content-Length: -5", body=BODY),
    "row41-plus-length": post(b"Content-Length: +%d" % len(BODY), body=BODY),
    "row41-hexadecimal-length": post(b"Content-Length: 0x10", body=BODY),
    "row41-empty-length": post(b"Content-Length:", body=BODY),
    "row41-text-length": post(b"Content-Length: all", body=BODY),
    "row41-huge-length": post(b"Content-Length: " + b"9" * 100, body=BODY),
    "row41-unknown-transfer-encoding": post(b"Transfer-Encoding: xchunked", body=chunked(BODY)),
    "row41-chunked-not-last": post(b"Transfer-Encoding: chunked, gzip", body=chunked(BODY)),
    "row41-chunked-twice": post(CHUNKED, CHUNKED, body=chunked(BODY)),
    "row41-bad-chunk-size": post(CHUNKED, body=b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-negative-chunk-size": post(CHUNKED, body=b"-5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-chunk-longer-than-said": post(CHUNKED, body=b"2\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-blank-before-colon": post(b"Content-Length : %d" % len(BODY), body=BODY),
    "row41-folded-header": post(b"X-A: b\r\n c", LENGTH, body=BODY),
    "row41-header-without-colon": post(b"nonsense", LENGTH, body=BODY),
    "row41-nul-in-header": post(b"X-A: a\0b", LENGTH, body=BODY),
    "row41-bare-cr-in-header": post(b"X-A: a\rb: c", LENGTH, body=BODY),
    "row41-no-host": b"GET /api/v2/attachments HTTP/1.1\r\n\r\n",
    "row41-http-3": b"GET /api/v2/attachments HTTP/3.0\r\n{auth}\r\n",
    "row41-unknown-method": b"FETCH /api/v2/attachments HTTP/1.1\r\n{auth}\r\n",
    "row41-tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "row41-noise": bytes(range(255, 0, -1)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", FRAMES.values(), ids=FRAMES)
async def test_a_request_that_can_be_cut_two_ways_is_refused_and_the_connection_ends(
    untouched: Target, request_bytes: bytes
) -> None:
    assert_refused(await exchange(untouched, request_bytes, closes=True), 400)


async def test_row41_bytes_after_a_refused_frame_are_never_parsed_as_a_request(
    untouched: Target,
) -> None:
    smuggled = b"DELETE /api/v2/attachments/{id} HTTP/1.1\r\n{auth}\r\n"
    request = post(LENGTH, CHUNKED, body=b"0\r\n\r\n") + smuggled
    assert_refused(await exchange(untouched, request, closes=True), 400)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(post(b"Content-Length: 100"), id="row43-no-byte"),
        pytest.param(post(b"Content-Length: 100", body=b'{"data":'), id="row43-half"),
        pytest.param(post(CHUNKED, body=b'8\r\n{"data":\r\n'), id="row43-chunked"),
        pytest.param(post(CHUNKED, body=b"ff"), id="row43-in-a-chunk-size"),
    ],
)
async def test_a_stalled_body_is_given_up(
    untouched: Target, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
) -> None:
    assert bodies.READ_TIMEOUT_S <= 10
    monkeypatch.setattr(bodies, "READ_TIMEOUT_S", 0.2)
    assert_refused(await exchange(untouched, request_bytes, closes=True), 408)


async def test_row43_a_body_that_drips_is_given_up(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_TIMEOUT_S", 0.2)
    url = urlsplit(untouched.service.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = post(b"Content-Length: 100").replace(
        b"{auth}",
        f"Host: {url.netloc}\r\nX-Auth-Token: {untouched.client.token}\r\n"
        f"X-Organization-Id: {untouched.client.organization_id}\r\n".encode(),
    )
    writer.write(head)

    async def drip() -> None:
        for _ in range(90):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(3):
            assert b" 408 " in await reader.readline()
    finally:
        dripping.cancel()
        writer.close()
