"""Request bodies: read within bounds, decoded strictly, never with a 5xx."""

import asyncio
import json
import math
import zlib
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import TransferEncodingError

from api.problems import MEDIA_TYPE, bad_request, general

READ_TIMEOUT_S = 10
MAX_DEPTH = 64
MAX_DIGITS = 40
CUT_SHORT = "The body is cut short or wrongly encoded"


async def read_body(request: web.Request, *, max_bytes: int) -> bytes:
    """Read a whole body of at most `max_bytes`, decompressed too.

    Raises Problem: 413 (at once where Content-Length says so), 408 after ten seconds, 415 for an
    unknown Content-Encoding, 400 for what is cut short or not what its Content-Encoding says.
    """
    return inflate(request, await read_raw(request, max_bytes=max_bytes), max_bytes=max_bytes)


async def read_raw(request: web.Request, *, max_bytes: int) -> bytes:
    """Read a whole body of at most `max_bytes`, as it was sent. Raises Problem: 413, 408, 400."""
    if request.content_length is not None and request.content_length > max_bytes:
        raise general(413, headers={"Connection": "close"})
    received = bytearray()
    try:
        # most bodies come whole, with the head of their request
        if request.content.is_eof() and request.content.total_bytes <= max_bytes:
            return request.content.read_nowait()
        # what has arrived whole, as most has, needs no clock
        async with asyncio.timeout(None if request.content.is_eof() else READ_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                received += chunk
                if len(received) > max_bytes:
                    raise general(413, headers={"Connection": "close"})
    except TimeoutError:
        raise general(408, headers={"Connection": "close"}) from None
    except (
        web.PayloadAccessError, web.RequestPayloadError, TransferEncodingError,
        ConnectionResetError,
    ):  # fmt: skip
        raise bad_request(CUT_SHORT) from None
    return bytes(received)


def inflate(request: web.Request, body: bytes, *, max_bytes: int) -> bytes:
    """Undo a body's Content-Encoding. Raises Problem: 413, 415, 400 as `read_body`."""
    inflater = _inflater(request)
    if inflater is None:
        return body
    try:
        # one byte more than is allowed tells that there is too much; a bomb gets no further
        inflated = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise bad_request(CUT_SHORT) from None
    if len(inflated) > max_bytes:
        raise general(413, headers={"Connection": "close"})
    # what ends before its checksum, or goes on after it
    if not inflater.eof or inflater.unused_data:
        raise bad_request(CUT_SHORT)
    return inflated


def _inflater(request: web.Request) -> "zlib._Decompress | None":
    encoding = ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "deflate"):
        raise general(415)
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # reads the header of either


def parse_json(body: bytes) -> Any:
    """Decode JSON by RFC 8259, strictly. Raises Problem 400.

    Refused: any encoding but UTF-8, a byte-order mark, a name that stands twice in an object,
    NaN and infinities, numbers beyond 40 digits or a double's range, nesting beyond 64 levels.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("The body is not UTF-8") from None
    if _too_deep(text):
        raise bad_request(f"The body is nested deeper than {MAX_DEPTH} levels")
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        raise bad_request("The body is not valid JSON") from None


def _too_deep(text: str) -> bool:
    # Only what could be too deep by its number of brackets is looked at bracket by bracket.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice")
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
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def check_accept(request: web.Request, *, bulk: bool = False) -> None:
    """Raise Problem 406 if no media range of Accept takes `application/vnd.api+json`.

    Lenient by contract: wildcards and no Accept at all are fine. JSON:API 1.1, "Server
    Responsibilities": the media type with parameters other than `ext` and `profile` does not
    count; of extensions `bulk` is known.
    """
    ranges = request.headers.getall("Accept", [])
    if not ranges or ranges == ["*/*"]:
        return
    for item in ",".join(ranges).split(","):
        media, parameters = _split(item)
        if parameters.pop("q", "1").rstrip("0").rstrip(".") in ("", "0"):
            continue
        if media in ("*/*", "application/*"):
            return
        if media == MEDIA_TYPE and _knows(parameters, bulk_allowed=True):
            if bulk and "ext" not in parameters:
                continue
            return
    raise general(406)


def check_content_type(request: web.Request) -> bool:
    """Return whether the body is of the bulk extension. Raises Problem 415.

    JSON:API 1.1: parameters other than `ext` and `profile` are refused, `charset` among them.
    """
    given = request.headers.getall("Content-Type", [])
    if given == [MEDIA_TYPE]:
        return False
    media, parameters = _split(given[0]) if len(given) == 1 else ("", {})
    if media != MEDIA_TYPE or not _knows(parameters, bulk_allowed=True):
        raise general(415)
    return "ext" in parameters


def _knows(parameters: dict[str, str], *, bulk_allowed: bool) -> bool:
    if parameters.keys() - {"ext", "profile"}:
        return False
    return "ext" not in parameters or (bulk_allowed and parameters["ext"] == "bulk")


def _split(value: str) -> tuple[str, dict[str, str]]:
    media, *rest = value.split(";")
    parameters = {}
    for parameter in rest:
        name, _, text = parameter.partition("=")
        if name.strip():
            parameters[name.strip().lower()] = text.strip().strip('"')
    return media.strip().lower(), parameters
