"""Compares every answer of an API in this process with the API's description.

The client of the tests sees only the answers to its own requests. Other answers go to raw sockets,
browsers, stores, balancers and programs. So all answers are compared where the API sends them.
"""

import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from aiohttp import web

from api import connection
from tests.support.described import check_answer

_undescribed: list[str] = []

finish_response = connection.Connection.finish_response
write_by_hand = connection._by_hand


def check_all(note: Callable[[str], None]) -> None:
    """Compare each answer from now on, and call `note` with the fault of a wrong answer.

    An answer is compared before it is sent. So its fault is noted before the client receives it.
    """

    def check(
        method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        try:
            check_answer(method, path, status, headers, _read(headers, body))
        except Exception as fault:  # the body may also be invalid JSON or invalid gzip
            note(f"{type(fault).__name__}: {fault}")

    async def finish_checked(
        self: connection.Connection,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        body = resp.body if isinstance(resp, web.Response) else None
        sent = body if isinstance(body, bytes) else None
        check(request.method, request.rel_url.raw_path, resp.status, resp.headers, sent)
        return await finish_response(self, request, resp, start_time)

    def write_checked(*args: Any) -> bytes:
        written = write_by_hand(*args)
        head, _, body = written.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        check("UNKNOWN", "/", int(first.split()[1]), headers, body)
        return written

    # Replace the functions that send answers, because aiohttp has no hook for all answers.
    mock.patch.object(connection.Connection, "finish_response", finish_checked).start()
    mock.patch.object(connection, "_by_hand", write_checked).start()


def _read(headers: Mapping[str, str], body: bytes | None) -> Any:
    if not body or "json" not in headers.get("Content-Type", ""):
        return None
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return json.loads(body)


def note_here(fault: str) -> None:
    """Record that an answer of this process has a fault; `take_undescribed` returns the faults."""
    _undescribed.append(fault)


def take_undescribed() -> list[str]:
    """Return the faults of this process's answers since the last call."""
    found, _undescribed[:] = list(_undescribed), []
    return found


def note_in(path: Path) -> Callable[[str], None]:
    """Return a function that appends a fault to a file, for processes that share the file."""

    def note(fault: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, f"{fault}\n".encode())
        finally:
            os.close(descriptor)

    return note


def take_noted(path: Path) -> list[str]:
    """Return the faults of a file, and remove the file."""
    try:
        found = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    path.unlink()
    return found
