"""Receive request bodies within limits and decode them strictly. No body causes a 5xx."""

import asyncio
import json
import math
import zlib
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, NoReturn, TypeVar

import orjson
from aiohttp import web
from aiohttp.http_exceptions import TransferEncodingError

from api.problems import bad_request, general
from api.readers import LONG_BYTES, Readers

T = TypeVar("T")

EXPECTS = web.RequestKey("expects", bool)
"""The key is in a request if the client waits for `100 Continue` before it sends the body."""

READ_TIMEOUT_S = 10
MAX_DEPTH = 64
MAX_DIGITS = 40

MAX_MARKS = 40_000
"""Maximum number of brackets, commas and colons outside of strings in a body. A resource in an
answer has about 200, and a bulk request has up to 100 resources."""

TOO_MANY = f"The body has more than {MAX_MARKS} brackets, commas and colons"

SHORT_BYTES = 16 * 1024
"""Maximum length, in bytes, of a body that is parsed in the event loop. A longer one is parsed in a
thread, so that the loop can serve other requests."""

# There is a single thread, because with several threads the event loop would wait more often for
# the interpreter lock (GIL).
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long-documents")

_NO_MARKS = bytes(set(range(256)) - set(b"[]{},:"))
CUT_SHORT = "The body is cut short or wrongly encoded"

BROKEN = (
    web.PayloadAccessError,
    web.RequestPayloadError,
    TransferEncodingError,
    ConnectionResetError,
)
"""The exceptions that aiohttp raises if a body ended early or cannot be decoded."""


async def read_raw(
    request: web.Request,
    *,
    max_bytes: int,
    receive_long: Callable[[], Awaitable[None]] | None = None,
) -> bytes:
    """Receive a whole body of at most `max_bytes`, without decompressing it.

    `receive_long` is awaited once, as soon as more than LONG_BYTES have arrived. Raises Problem:
    413 (at once if Content-Length is too large), 408 after ten seconds, 400 for a body that is cut
    short. Passes on what `receive_long` raises. `100 Continue` is sent here, so errors that need no
    body come before it (RFC 9110, section 10.1.1).
    """
    if request.content_length is not None and request.content_length > max_bytes:
        raise general(413, headers={"Connection": "close"})
    if not request.content.is_eof() and EXPECTS in request:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # An interim response is no part of the answer, so it is not counted. aiohttp does the same.
        request.writer.output_size = 0
        await request.writer.drain()
    # Most bodies arrive together with the head of their request, and need no timeout.
    if request.content.is_eof() and request.content.total_bytes <= max_bytes:
        return _take_arrived(request)
    received = bytearray()
    try:
        # A body that has already arrived completely needs no timeout.
        async with asyncio.timeout(None if request.content.is_eof() else READ_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                received += chunk
                if len(received) > max_bytes:
                    raise general(413, headers={"Connection": "close"})
                if receive_long is not None and len(received) > LONG_BYTES:
                    await receive_long()
                    receive_long = None
    except TimeoutError:
        raise general(408, headers={"Connection": "close"}) from None
    except BROKEN:
        raise bad_request(CUT_SHORT) from None
    return bytes(received)


def _take_arrived(request: web.Request) -> bytes:
    """Return a body that has arrived completely. Raises Problem 400 if it is cut short."""
    try:
        return request.content.read_nowait()
    except BROKEN:
        raise bad_request(CUT_SHORT) from None


def inflate(request: web.Request, body: bytes, *, max_bytes: int) -> bytes:
    """Decompress a body as its Content-Encoding says.

    Raises Problem: 413 if the result is longer than `max_bytes`, 415 for an unknown
    Content-Encoding, 400 if the body is cut short or has another encoding.
    """
    inflater = _inflater(request)
    if inflater is None:
        return body
    try:
        # One byte above the limit shows that the body is too long, so a decompression bomb is not
        # expanded further.
        inflated = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise bad_request(CUT_SHORT) from None
    if len(inflated) > max_bytes:
        raise general(413, headers={"Connection": "close"})
    # A compressed body must end with its checksum. Nothing may be missing, and nothing may follow.
    if not inflater.eof or inflater.unused_data:
        raise bad_request(CUT_SHORT)
    return inflated


def check_encoding(request: web.Request) -> bool:
    """Return True if a body is compressed. Raises Problem 415 for an unknown Content-Encoding."""
    encoding = ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    if encoding in ("", "identity"):
        return False
    if encoding not in ("gzip", "deflate"):
        raise general(415)
    return True


def _inflater(request: web.Request) -> "zlib._Decompress | None":
    if not check_encoding(request):
        return None
    # With 32, zlib detects whether the header is that of gzip or of zlib ("deflate").
    return zlib.decompressobj(zlib.MAX_WBITS | 32)


async def read_json(
    request: web.Request,
    readers: Readers,
    key: Hashable,
    *,
    max_bytes: int,
    check: Callable[[Any], T],
) -> T:
    """Receive a body, decode it and return the result of `check` for its document.

    A body that is compressed or longer than SHORT_BYTES is parsed and checked in a thread. `key`
    is the id of the organization. `readers` limits how many bodies of one organization are
    received and parsed at the same time. Raises the Problems of `read_raw`, `inflate`,
    `parse_json` and `check`, and Busy if too many of the organization's bodies wait already.
    """
    encoded = "Content-Encoding" in request.headers
    if encoded:
        check_encoding(request)
    elif request.content.is_eof() and request.content.total_bytes <= min(SHORT_BYTES, max_bytes):
        # The usual case: the body is short and has arrived together with the head.
        return check(parse_json(_take_arrived(request)))
    async with AsyncExitStack() as held:

        async def receive() -> None:
            await held.enter_async_context(readers.receive(key))

        body = await read_raw(request, max_bytes=max_bytes, receive_long=receive)
        if len(body) <= SHORT_BYTES and not encoded:
            return check(parse_json(body))

        def read() -> T:
            return check(parse_json(inflate(request, body, max_bytes=max_bytes)))

        async with readers.read(key):
            return await asyncio.get_running_loop().run_in_executor(_reader, read)


def parse_json(body: bytes) -> Any:
    """Decode JSON strictly by RFC 8259. Raises Problem 400.

    These are errors: encodings other than UTF-8, a byte-order mark, a name that occurs twice in an
    object, NaN and infinities, integers of more than 40 digits, numbers beyond the range of a
    double, nesting deeper than 64 levels, and more than MAX_MARKS brackets, commas and colons.

    Parsing takes up to 3 ms for 16 KiB and 70 ms for 1 MiB of any content. So a body longer than
    SHORT_BYTES must be parsed in a thread, see `read_json`.
    """
    if len(body) <= SHORT_BYTES and _count_brackets(body) <= MAX_DEPTH:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # the strict decoder reports the reason, or accepts the body in a few rare cases
        else:
            if _is_strict(document, colons=body.count(b":")):
                return document
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("The body is not UTF-8") from None
    _check_structure(body)
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        raise bad_request("The body is not valid JSON") from None


def _check_structure(body: bytes) -> None:
    """Limit the work of the decoder, which calls Python code for each object and number.

    Methods of `bytes` read the whole body, because a Python loop would be slow. The loop at the end
    reads at most MAX_MARKS bytes.
    """
    if _count_brackets(body) <= MAX_DEPTH and len(body) <= SHORT_BYTES:
        return
    # Remove escapes first. If the rest is then split at the quotes, every second piece is outside
    # of strings. If a backslash is outside of a string, the pieces may be wrong. But then the body
    # is no JSON, and the decoder rejects it.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    # The split below needs memory for each string, so count the quotes first. A body with so many
    # quotes has more than MAX_MARKS strings. Between any two strings there is a comma or a colon,
    # so there are too many marks.
    if plain.count(b'"') > 4 * MAX_MARKS:
        raise bad_request(TOO_MANY)
    marks = b"".join(plain.split(b'"')[::2]).translate(None, _NO_MARKS)
    if len(marks) > MAX_MARKS:
        raise bad_request(TOO_MANY)
    depth = 0
    for mark in marks.translate(None, b",:"):
        depth += 1 if mark in b"[{" else -1
        if depth > MAX_DEPTH:
            raise bad_request(f"The body is nested deeper than {MAX_DEPTH} levels")


def _count_brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _is_strict(document: Any, *, colons: int) -> bool:
    """Return True if the document that orjson read from a body is valid for `parse_json`.

    orjson takes a tenth of the strict decoder's time, but it accepts two things that `parse_json`
    rejects. It accepts a name that occurs twice in an object. It also accepts integers of any
    length, and returns long ones as floats. So the result is False if the document has a float.

    `colons` is the number of colons in the body. JSON has one colon after each name, so a name that
    occurs twice makes the document have fewer names than the body has colons. A colon in a string
    has the same effect, although it is valid. If the result is False, the strict decoder reads the
    body again, and accepts it if it is valid.
    """
    names = 0
    values = [document]
    for value in values:  # the loop body appends nested values
        kind = type(value)  # faster than `isinstance`, and orjson returns only exact types
        if kind is dict:
            names += len(value)
            values += value.values()
        elif kind is list:
            values += value
        elif kind is float:
            return False
    return names == colons


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is beyond the range of a double")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
