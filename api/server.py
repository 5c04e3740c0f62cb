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

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from api.bodies import EXPECTS
from api.clients import PROXIES, client_address, peer_address
from api.draining import Drain, let_go, refuse_new, unread_bytes
from api.noise import CALLER, NOISE, REFUSED, Noise
from api.parts import PARTS
from api.problems import PRIVATE, Problem, answer_errors, bad_request, general, not_found
from api.slow_readers import cut_off_slow_readers, limit_kernel
from shared.connections import TidyConnection
from shared.listening import SERVER
from shared.log import get_logger
from shared.proxies import Proxies

# RFC 3986, section 3.2: a name or an address, and a port; with `_`, as containers' names have it.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

HEAD_TIMEOUT_S = 10.0
"""How long a client may take for a request's head: as long as for a body. It is counted from the
connection on, for a later request from its first byte on."""

HTTP2 = b"PRI * HTTP/2.0\r\n"
"""How HTTP/2 begins without TLS (RFC 9113, section 3.4)."""

LOOK_AGAIN_S = 1.0
"""When an idle connection is looked at again whose end has come while something arrived."""

MAX_LINE = 8190
"""Bytes that a request's target, and each of its header fields, may have; nginx takes as much."""

MAX_SLASHES = 32
"""Slashes that the path of an address may have; ours have at most twelve. aiohttp looks for a route
once for each, so that eight thousand would take milliseconds."""

log = get_logger(__name__)


@functools.lru_cache(maxsize=256)  # most requests name the same few
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


async def answer(
    request: Any,
    *,
    application: Callable[[Any], Awaitable[web.StreamResponse]],
    noise: Noise,
    proxies: Proxies,
    drain: Drain,
) -> web.StreamResponse:
    """Have the application answer a request whose Host and Expect can be read.

    A Host that is none must be refused (RFC 9112, section 3.2). HTTP/1.0 needs none; aiohttp would
    ask the resolver for a name then, which blocks the event loop. At Expect aiohttp looks before
    any middleware, and shows it again.
    """

    request[NOISE] = noise
    if proxies:
        request[PROXIES] = proxies
    expects = "Expect" in request.headers

    async def checked(request: web.Request) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host is not None and not _is_host(host):
            _refuse(noise, client_address(request), "host")
            raise bad_request("The header 'Host' is not valid")
        expect = request.headers.get("Expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                _refuse(noise, client_address(request), "expect")
                raise general(417)
            request = _without_expect(request)
        if request.raw_path.partition("?")[0].count("/") > MAX_SLASHES:
            raise not_found()
        return await application(request)

    response = await answer_errors(request, checked)
    if 400 <= response.status < 500 and CALLER not in request:
        await noise.pace.wait()
    _name_no_inside(response)
    if drain.begun:
        response.force_close()  # says so to the client, which then asks another process
    if expects and not request.content.is_eof():
        # The client may send the body or not: what comes next on the connection is unknown.
        response.force_close()
    if "Transfer-Encoding" in request.headers:
        # aiohttp's parser gives a body's trailer fields to the next request on the connection as
        # its header fields: X-Auth-Token could be slipped into another client's request behind a
        # proxy that shares connections. RFC 9112, section 7.1.2, forbids to merge them.
        response.force_close()
    return response


def _without_expect(request: web.Request) -> web.Request:
    """Have `read_raw` send `100 Continue`; aiohttp would send it before any handler runs."""
    headers = request.headers.copy()
    headers.popall("Expect")
    made = request.clone(headers=headers)
    if request.version >= HttpVersion11:
        made[EXPECTS] = True
    return made


def _name_no_inside(response: web.StreamResponse) -> None:
    """Set the headers that all answers have; aiohttp would name itself and Python as the server."""
    headers = response.headers
    headers["Server"] = SERVER
    if "Cache-Control" not in headers:
        headers.update(PRIVATE)


def _refuse(noise: Noise, address: str, kind: str) -> None:
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
        _refuse(self._noise, self._address, kind)
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
        _name_no_inside(response)
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

    @property
    def connections(self) -> list[Any]:
        """The open connections."""
        return list(self._connections)

    def __call__(self) -> Connection:
        """Make the protocol of one connection."""
        return Connection(self, noise=self._noise, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on our server; aiohttp has no setting for the kind of connection."""

    # Private in aiohttp: how a runner makes its server, which application it runs, how long it
    # waits at the end.
    _watch: "asyncio.Task[None] | None" = None

    async def drain(self, wait_s: float, *, within_s: float) -> None:
        """Stop so that no request is lost: answer for `wait_s` more, then let connections end.

        From the start on `/health/ready` is 503 and each answer ends its connection. `within_s` is
        how long requests may take after that. To be followed by `cleanup`.
        """
        self._app[PARTS].drain.begin()
        log.info("api stops", in_s=wait_s)
        await asyncio.sleep(wait_s)
        deadline = asyncio.get_running_loop().time() + within_s
        listeners = [site._server for site in self.sites if site._server is not None]
        await refuse_new(each for server in listeners for each in server.sockets)  # type: ignore[attr-defined]  # asyncio's Server has it
        for site in list(self.sites):
            await site.stop()
        if isinstance(self.server, Server):
            await let_go(self.server, within_s=within_s)
        # What is left has had its time.
        self._shutdown_timeout = max(1.0, deadline - asyncio.get_running_loop().time())

    async def cleanup(self) -> None:
        """Stop the server and the application."""
        if self._watch is not None:
            self._watch.cancel()
        await super().cleanup()

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        parts = self._app[PARTS]  # they have been opened
        noise = parts.noise
        server = Server(
            partial(
                answer,
                application=made.request_handler,
                noise=noise,
                proxies=parts.settings.proxies,
                drain=parts.drain,
            ),
            noise=noise,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._watch = asyncio.create_task(cut_off_slow_readers(server, noise))
        return server
