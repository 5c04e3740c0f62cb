"""The HTTP server around the application: what it refuses by itself is answered as JSON:API too.

What cannot be parsed never reaches a middleware. aiohttp answers it in plain text with a piece of
what was sent, and logs that piece with a traceback: it may hold a token.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.clients import client_address, peer_address
from api.noise import CALLER, NOISE, REFUSED, Noise
from api.parts import PARTS
from api.problems import answer_errors, bad_request, general
from api.slow_readers import cut_off_slow_readers, limit_kernel
from shared.log import get_logger

# RFC 3986, section 3.2: a name or an address, and a port; with `_`, as containers' names have it.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

HEAD_TIMEOUT_S = 10.0
"""How long a client may take for its first request's head, from the connection on: as long as for
a body. Heads of later requests are bounded by the keep-alive timeout, which aiohttp counts from the
last answer, whatever arrives meanwhile; a slow head is cut off by it too."""

log = get_logger(__name__)


@functools.lru_cache(maxsize=256)  # most requests name the same few
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


async def answer(
    request: Any, *, application: Callable[[Any], Awaitable[web.StreamResponse]], noise: Noise
) -> web.StreamResponse:
    """Have the application answer a request whose Host and Expect can be read.

    A Host that is none must be refused (RFC 9112, section 3.2). HTTP/1.0 needs none; aiohttp would
    ask the resolver for a name then, which blocks the event loop. At Expect aiohttp looks before
    any middleware, and shows it again.
    """

    request[NOISE] = noise

    async def checked(request: web.Request) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host is not None and not _is_host(host):
            _refuse(noise, client_address(request), "host")
            raise bad_request("The header 'Host' is not valid")
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            _refuse(noise, client_address(request), "expect")
            raise general(417)
        return await application(request)

    response = await answer_errors(request, checked)
    if 400 <= response.status < 500 and CALLER not in request:
        await noise.pace.wait()
    if "Transfer-Encoding" in request.headers:
        # aiohttp's parser gives a body's trailer fields to the next request on the connection as
        # its header fields: X-Auth-Token could be slipped into another client's request behind a
        # proxy that shares connections. RFC 9112, section 7.1.2, forbids to merge them.
        response.force_close()
    return response


def _refuse(noise: Noise, address: str, kind: str) -> None:
    noise.refused("request refused", address, metric=kind, reason=kind)


def _late() -> bytes:
    # Written by hand: there is no request that aiohttp could answer.
    response = general(408).response()
    assert isinstance(response.body, bytes)
    head = (
        "HTTP/1.1 408 Request Timeout\r\n"
        f"Content-Type: {response.headers['Content-Type']}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + response.body


_LATE = _late()


class Connection(web.RequestHandler):
    """One client's connection; it ends with whatever could not be parsed, or does not arrive."""

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
        super().data_received(data)
        if self._head_timer is not None:
            self._begun = True
            if self._request_count:
                self._stop_waiting()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        _refuse(self._noise, self._address, "late_head")
        if self._begun and self.transport is not None:  # who has sent nothing is told nothing
            self.transport.write(_LATE)
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
        response = general(400 if status == 400 else 500).response()
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


class Server(web.Server):
    """Makes our kind of connection."""

    def __init__(self, handler: Any, *, noise: Noise, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._noise = noise

    def __call__(self) -> Connection:
        """Make the protocol of one connection."""
        return Connection(self, noise=self._noise, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on our server; aiohttp has no setting for the kind of connection."""

    _watch: "asyncio.Task[None] | None" = None

    async def cleanup(self) -> None:
        """Stop the server and the application."""
        if self._watch is not None:
            self._watch.cancel()
        await super().cleanup()

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        noise = self._app[PARTS].noise  # the parts have been opened
        server = Server(
            partial(answer, application=made.request_handler, noise=noise),
            noise=noise,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._watch = asyncio.create_task(cut_off_slow_readers(server, noise))
        return server
