"""One client's connection: its timeouts, and the answers to requests that cannot be parsed."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from api.clients import peer_address
from api.draining import unread_bytes
from api.noise import REFUSED, Noise, RefusalKind
from api.problems import PRIVATE, Problem, general
from api.slow_readers import limit_kernel
from shared.connections import TidyConnection
from shared.listening import SERVER
from shared.log import get_logger
from shared.log_fields import Fields
from shared.request_ids import HEADER, new_id, request_id

HEAD_TIMEOUT_S = 10.0
"""Time, in seconds, in which a client must send the head of a request. For a connection's first
request, the time starts when the connection is opened. For a later request, it starts with the
request's first byte. A body has another timeout of the same length.
"""

HTTP2 = b"PRI * HTTP/2.0\r\n"
"""The first bytes of HTTP/2 without TLS (RFC 9113, section 3.4)."""

LOOK_AGAIN_S = 1.0
"""Time, in seconds, by which a timeout is extended if bytes have arrived that are not read yet."""

MAX_LINE = 8190
"""Maximum length, in bytes, of a request's target and of each header field. The limit of nginx is
similar."""

log = get_logger(__name__)


def name_no_inside(response: web.StreamResponse) -> None:
    """Set the headers that every answer has.

    A fixed value of `Server` hides the versions of aiohttp and Python.
    """
    headers = response.headers
    headers["Server"] = SERVER
    if "Cache-Control" not in headers:
        headers.update(PRIVATE)


def note_refused(noise: Noise, address: str, kind: RefusalKind) -> None:
    """Log and count a request that is answered with an error before it reaches the application."""
    noise.refused("request refused", address, metric=kind, reason=kind)


def _by_hand(problem: Problem, own_id: str) -> bytes:
    # The response is written as bytes: aiohttp can answer only a request object, and there is none.
    response = problem.response()
    assert isinstance(response.body, bytes)
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.headers['Content-Type']}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Server: {SERVER}\r\n"
        f"Cache-Control: {PRIVATE['Cache-Control']}\r\n"
        f"Vary: {PRIVATE['Vary']}\r\n"
        f"{HEADER}: {own_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + response.body


class Connection(TidyConnection):
    """One client's connection. It ends if a request cannot be parsed or arrives too slowly."""

    # This class uses attributes that are private in aiohttp, because there are no public ones.
    # `_waiter` is set while the connection is between two requests. `_request_count` is the number
    # of its requests. `_process_keepalive` and `_keepalive_handle` belong to the timer that closes
    # idle connections. `_loop` is the event loop.
    __slots__ = ("_address", "_begun", "_head_timer", "_noise", "on_lost")

    def __init__(self, manager: web.Server, *, noise: Noise, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._noise = noise
        self._address = peer_address(None)
        self._begun = False
        self._head_timer: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout for the first request."""
        super().connection_made(transport)
        limit_kernel(transport)
        self._address = peer_address(transport)
        self._head_timer = self._loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        """Process received bytes.

        When the head is complete, its timeout stops. An HTTP/2 request is answered with 505.
        """
        before, is_idle = self._request_count, self._is_idle()
        if not before and not self._begun and data.startswith(HTTP2):
            self._refuse_at_once("http2", general(505))
            return
        if self.is_unreadable:
            return
        super().data_received(data)
        if self._request_count > before:
            self._stop_waiting()
        elif (is_idle or self._head_timer is not None) and data.strip(b"\r\n"):
            # Empty lines before a request do not begin it (RFC 9112, section 2.2).
            self._begun = True
            if self._head_timer is None:
                self._head_timer = self._loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timeout when the connection has ended."""
        self._stop_waiting()
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)

    def end_if_idle(self) -> None:
        """Close the connection, unless a request is being answered or has begun to arrive."""
        if self._is_idle() and not self._begun and not unread_bytes(self.transport):
            self.force_close()

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _process_keepalive(self) -> None:
        # aiohttp calls this when a connection was idle for too long. If the process was busy, a
        # request may have arrived in time but is not read yet: the event loop runs timers before it
        # reads sockets.
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
            # The process was too slow to read the bytes. The client was in time.
            self._head_timer = self._loop.call_later(LOOK_AGAIN_S, self._head_is_late)
            return
        # A client that has sent nothing gets no answer.
        self._refuse_at_once("late_head", general(408) if self._begun else None)

    def _refuse_at_once(self, kind: RefusalKind, problem: Problem | None) -> None:
        own_id = new_id()
        with Fields(request_id=own_id):
            note_refused(self._noise, self._address, kind)
        if problem is not None and self.transport is not None:
            self.transport.write(_by_hand(problem, own_id))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer 400 to a request that cannot be parsed, or 500 after a bug, and close the
        connection.

        Raises ConnectionError if an answer has already begun.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has already begun")
        own_id = request_id(request.headers)  # a new id if no header has one
        with Fields(request_id=own_id):
            if status == 400:
                self._note_unreadable(exc)
            else:
                REFUSED.labels("error").inc()
                log.error("unexpected error", exc_info=exc)
        detail = None
        if isinstance(exc, LineTooLong):
            detail = f"The address or a header field is longer than {MAX_LINE} bytes"
        response = general(400 if status == 400 else 500, detail).response()
        response.headers[HEADER] = own_id
        name_no_inside(response)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log an exception of aiohttp. For an error of its parser, only the class is logged.

        The parser reports, for example, a body that is cut short after the answer was sent.
        """
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._note_unreadable(error)
        else:
            super().log_exception(*args, **kwargs)

    def _note_unreadable(self, error: BaseException | None) -> None:
        # Only the class is logged, because the error's text contains a part of the request.
        self._noise.refused(
            "unreadable request", self._address, metric="unreadable", reason=type(error).__name__
        )
