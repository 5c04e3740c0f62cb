"""The client's HTTP requests: JSON:API for the API, a multipart form for the store, and retries."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from deploy.client.network_faults import fault_of
from shared.errors import AttachmentsError
from shared.jitter import spread
from shared.reasons import ReasonCode

T = TypeVar("T")

UploadCode = Literal[
    "api_refused",
    "api_unreachable",
    "store_refused",
    "store_unreachable",
    "unreadable_answer",
    "file_changed",
    "unreadable_file",
    "timeout",
]
"""Codes of faults. They say why a file was not uploaded, or why the client does not know whether it
was processed.
"""

MEDIA_TYPE = "application/vnd.api+json"

TRIES = 6
RETRY_UP_TO_S = 10.0
API_TIMEOUT_S = 30
STALL_TIMEOUT_S = 120
"""Maximum time, in seconds, in which the store must take the next chunk, or answer after the last
one."""

CHUNK_BYTES = 256 * 1024
COME_AGAIN = (429, 502, 503, 504)


class FileReason(TypedDict):
    """Why a file failed: a stable code and a sentence, as in `meta.reason` of the API."""

    code: ReasonCode | UploadCode
    detail: str


class UploadFault(AttachmentsError):
    """The upload of one file failed. `reason` has a stable code and a sentence."""

    def __init__(self, code: UploadCode, detail: str) -> None:
        super().__init__(detail)
        self.reason = FileReason(code=code, detail=detail)


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    expected: int,
    body: bytes | None = None,
) -> dict[str, Any]:
    """Send a request to the API and return its document. Retries temporary faults.

    A POST may be repeated too: if an attachment is created twice, the unused one expires without
    harm. Raises UploadFault for a status other than `expected`, or after TRIES attempts.
    """

    async def attempt() -> dict[str, Any]:
        headers = {"Content-Type": MEDIA_TYPE} if body is not None else None
        async with (
            asyncio.timeout(API_TIMEOUT_S),
            session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            text = await answer.read()
        if answer.status == expected:
            return read_document(text)
        fault = UploadFault("api_refused", error_detail(answer.status, text))
        raise _Again(fault, answer) if answer.status in COME_AGAIN else fault

    return await _repeat(attempt, "api", url)


async def post_file(
    session: aiohttp.ClientSession,
    url: str,
    fields: dict[str, str],
    path: Path,
    size: int,
    on_sent: Callable[[int], None],
) -> None:
    """Post a file of `size` bytes to the store under its policy, streamed from disk.

    `on_sent` gets the number of bytes sent so far. Temporary faults are retried. Raises UploadFault
    if the store does not accept the file, and OSError if the file cannot be read.
    """
    boundary = secrets.token_hex(16)
    head, tail = _form(fields, boundary)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + size + len(tail)),
    }

    async def attempt() -> None:
        loop = asyncio.get_running_loop()
        # If reading the file fails, aiohttp raises only a connection error. So keep the original
        # error here.
        faults: list[UploadFault] = []

        async def body(file: BinaryIO, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
            yield head
            sent = 0
            while sent < size:
                chunk = await asyncio.to_thread(file.read, min(CHUNK_BYTES, size - sent))
                if not chunk:
                    faults.append(
                        UploadFault("file_changed", "The file became shorter during the upload.")
                    )
                    raise faults[0]
                yield chunk
                sent += len(chunk)
                on_sent(sent)
                limit.reschedule(loop.time() + STALL_TIMEOUT_S)
            yield tail

        file = await asyncio.to_thread(path.open, "rb")
        try:
            async with (
                asyncio.timeout(STALL_TIMEOUT_S) as limit,
                session.post(
                    url, data=body(file, limit), headers=headers, allow_redirects=False
                ) as answer,
            ):
                text = await answer.text(errors="replace")
        except aiohttp.ClientError as error:
            raise (faults[0] if faults else error) from error
        finally:
            file.close()
        if 200 <= answer.status < 300:
            return
        code = re.search(r"<Code>(\w+)</Code>", text)
        words = f"{answer.status} {code[1]}" if code else str(answer.status)
        fault = UploadFault("store_refused", f"The store answered {words}.")
        raise _Again(fault, answer) if answer.status in (500, *COME_AGAIN) else fault

    await _repeat(attempt, "store", url)


class _Again(Exception):
    """A temporary fault. `after_s` is the server's Retry-After in seconds, or 0."""

    def __init__(self, fault: UploadFault, answer: aiohttp.ClientResponse) -> None:
        super().__init__(str(fault))
        self.fault = fault
        asked = answer.headers.get("Retry-After", "")
        self.after_s = float(asked) if asked.isascii() and asked.isdigit() else 0.0


def origin(url: str) -> str:
    """Return scheme, host and port of an address. The other parts may contain secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


_NAMES = {"api": "API", "store": "store"}
_UNREACHABLE: dict[str, UploadCode] = {"api": "api_unreachable", "store": "store_unreachable"}


async def _repeat(
    attempt: Callable[[], Awaitable[T]], server: Literal["api", "store"], url: str
) -> T:
    """Call `attempt` until it succeeds, with growing pauses.

    Raises UploadFault after TRIES attempts.
    """
    pause_s = 0.25
    for number in range(1, TRIES + 1):
        try:
            return await attempt()
        except _Again as again:
            fault, after_s = again.fault, again.after_s
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            detail = (
                f"The {_NAMES[server]} could not be reached at {origin(url)}: {fault_of(error)}."
            )
            fault, after_s = UploadFault(_UNREACHABLE[server], detail), 0.0
        if number == TRIES:
            raise fault
        # The pause is 1 to 1.5 times as long as required. So clients that were rejected together do
        # not retry together, and no client retries earlier than the server asked for.
        await asyncio.sleep(spread(1.25 * min(max(after_s, pause_s), RETRY_UP_TO_S)))
        pause_s *= 2
    raise AssertionError("unreachable")


def _form(fields: dict[str, str], boundary: str) -> tuple[bytes, bytes]:
    """Return two parts of a multipart form: the bytes before the file, and the bytes after it."""
    lines = []
    for name, value in fields.items():
        if not isinstance(value, str) or '"' in name or "\r" in name + value:
            raise UploadFault(
                "unreadable_answer", "The API's policy cannot be sent as form fields."
            )
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        )
    lines.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(lines).encode(), f"\r\n--{boundary}--\r\n".encode()


def read_document(body: bytes) -> dict[str, Any]:
    """Parse a JSON:API document. Raises UploadFault if it is not one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise UploadFault("unreadable_answer", "The API's answer is not a JSON:API document.")
    return document


def error_detail(status: int, body: bytes) -> str:
    """Return the errors in an error document as one sentence that names the faulty attributes."""
    try:
        errors = read_document(body)["errors"]
        words = [
            f"{error.get('source', {}).get('pointer', '').rpartition('/')[2]} {error['detail']}"
            for error in errors
        ]
    except (UploadFault, KeyError, TypeError, AttributeError):
        words = []
    return f"The API answered {status}: {'; '.join(word.strip() for word in words) or 'no reason'}."
