"""One client's connection: what it waits for, and how it ends."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from api.clients import peer_address
from api.draining import unread_bytes
from api.noise import REFUSED, Noise
from api.problems import PRIVATE, Problem, general
from api.slow_readers import limit_kernel
from shared.connections import TidyConnection
from shared.listening import SERVER
from shared.log import get_logger

HEAD_TIMEOUT_S = 10.0
"""How long a client may take for a request's head: as long as for a body. It is counted from the
connection on, for a later request from its first byte on."""

HTTP2 = b"PRI * HTTP/2.0\r\n"
"""How HTTP/2 begins without TLS (RFC 9113, section 3.4)."""

LOOK_AGAIN_S = 1.0
"""When an idle connection is looked at again whose end has come while something arrived."""

MAX_LINE = 8190
"""Bytes that a request's target, and each of its header fields, may have; nginx takes as much."""

log = get_logger(__name__)


def name_no_inside(response: web.StreamResponse) -> None:
    """Set the headers that all answers have; aiohttp would name itself and Python as the server."""
    headers = response.headers
    headers["Server"] = SERVER
    if "Cache-Control" not in headers:
        headers.update(PRIVATE)


def note_refused(noise: Noise, address: str, kind: str) -> None:
    """Log and count a request that is refused before the application sees it."""
    noise.refused("request refused", address, metric=kind, reason=kind)


def _by_hand(problem: Problem, reason: str) -> bytes:
    # There is no request that aiohttp could answer.
    response = problem.response()
    assert isinstance(response.body, bytes)
    head = (
        f"HTTP/1.1 {response.status} {reason}\r\n"
        f"Content-Type: {response.headers['Content-Type']}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Server: {SERVER}\r\n"
        f"Cache-Control: {PRIVATE['Cache-Control']}\r\n"
        f"Vary: {PRIVATE['Vary']}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + response.body


_LATE = _by_hand(general(408), "Request Timeout")

_NO_HTTP2 = _by_hand(general(505), "HTTP Version Not Supported")


class Connection(TidyConnection):
    """One client's connection; it ends with whatever could not be parsed, or does not arrive."""

    # Private in aiohttp, which has no public names for them: whether a connection is between two
    # requests (_waiter), how many requests came (_request_count), and the timer of idle ones.
    __slots__ = ("_address", "_begun", "_head_timer", "_noise")

    def __init__(self, manager: web.Server, *, noise: Noise, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._noise = noise
        self._address = peer_address(None)
        self._begun = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        limit_kernel(transport)
        self._address = peer_address(transport)
        self._head_timer = self._loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; with a whole head the wait for it is over."""
        before, is_idle = self._request_count, self._is_idle()
        if not before and not self._begun and data.startswith(HTTP2):
            self._refuse_at_once("http2", _NO_HTTP2)
            return
        if self.is_unreadable:
            return
        super().data_received(data)
        if self._request_count > before:
            self._stop_waiting()
        elif (is_idle or self._head_timer is not None) and data.strip(b"\r\n"):
            # Empty lines before a request are no part of it (RFC 9112, section 2.2).
            self._begun = True
            if self._head_timer is None:
                self._head_timer = self._loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def end_if_idle(self) -> None:
        """Close it if no request is being answered and nothing of one has arrived."""
        if self._is_idle() and not self._begun and not unread_bytes(self.transport):
            self.force_close()

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _process_keepalive(self) -> None:
        # aiohttp's timer for idle connections. Where the process was busy, a request may have
        # arrived in time that it has not read yet: timers run before sockets are read.
        if self._begun or unread_bytes(self.transport):
            self._keepalive_handle = self._loop.call_later(LOOK_AGAIN_S, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _stop_waiting(self) -> None:
        self._begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._begun and unread_bytes(self.transport):
            # this process was late, not the client
            self._head_timer = self._loop.call_later(LOOK_AGAIN_S, self._head_is_late)
            return
        # who has sent nothing is told nothing
        self._refuse_at_once("late_head", _LATE if self._begun else b"")

    def _refuse_at_once(self, kind: str, answer: bytes) -> None:
        note_refused(self._noise, self._address, kind)
        if answer and self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer 400 to what could not be parsed and 500 to a bug, and close the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been begun already")
        if status == 400:
            self._note_unreadable(exc)
        else:
            REFUSED.labels("error").inc()
            log.error("unexpected error", exc_info=exc)
        detail = None
        if isinstance(exc, LineTooLong):
            detail = f"The address or a header field is longer than {MAX_LINE} bytes"
        response = general(400 if status == 400 else 500, detail).response()
        name_no_inside(response)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp found; of a body that broke off after its answer, only that it did."""
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._note_unreadable(error)
        else:
            super().log_exception(*args, **kwargs)

    def _note_unreadable(self, error: BaseException | None) -> None:
        # The error's text holds a piece of what was sent; its class is one of the parser's few.
        self._noise.refused(
            "unreadable request", self._address, metric="unreadable", reason=type(error).__name__
        )
