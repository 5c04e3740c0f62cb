"""The HTTP server around the application. Its own error answers are JSON:API documents too.

A request that cannot be parsed never reaches a middleware. aiohttp itself would answer with plain
text that repeats a part of the request, and log that part with a traceback. The part may contain a
token.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web

from api.bodies import EXPECTS
from api.clients import PROXIES, client_address
from api.connection import Connection, name_no_inside, note_refused
from api.draining import Drain, let_go, refuse_new
from api.finishing import finish
from api.noise import CALLER, NOISE, Noise
from api.parts import PARTS
from api.problems import answer_errors, bad_request, general, not_found
from api.request_log import Answering, request_logger
from api.slow_readers import cut_off_slow_readers
from shared.log import get_logger
from shared.proxies import Proxies

# A host is a name or an address, with an optional port (RFC 3986, section 3.2). `_` is allowed too,
# because names of containers may contain it.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

MAX_SLASHES = 32
"""Maximum number of slashes in a request's path. The routes have at most twelve. aiohttp searches
its routes once per slash, so 8,000 slashes would take milliseconds."""

log = get_logger(__name__)


@functools.lru_cache(maxsize=256)  # cached, because most requests have one of a few hosts
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


class Answers:
    """Answers every request of a process, including those that never reach the application.

    If `logged` is true, a line is logged for each answer.
    """

    def __init__(
        self,
        application: Callable[[Any], Awaitable[web.StreamResponse]],
        *,
        noise: Noise,
        proxies: Proxies,
        drain: Drain,
        logged: bool = True,
    ) -> None:
        self._application = application
        self._noise = noise
        self._proxies = proxies
        self._drain = drain
        self._log_request = request_logger() if logged else None

    async def answer(self, request: Any) -> web.StreamResponse:
        """Check Host, Expect and the path of a request, then let the application answer it."""
        request[NOISE] = self._noise
        if self._proxies:
            request[PROXIES] = self._proxies
        expects = "Expect" in request.headers
        if expects:
            request = _without_expect(request)
        answering = Answering(request)
        try:
            response = await answer_errors(request, self._check_and_answer)
            await finish(request, response)
            answering.end(request, response, log_request=self._log_request)
        finally:
            answering.close()
        if 400 <= response.status < 500 and CALLER not in request:
            await self._noise.pace.wait()
        name_no_inside(response)
        if self._drain.begun:
            # While this process stops, `Connection: close` makes the client connect to another
            # process.
            response.force_close()
        if expects and not request.content.is_eof():
            # The client may still send the body, so it would be unclear whether the next bytes are
            # this body or another request.
            response.force_close()
        if "Transfer-Encoding" in request.headers:
            # aiohttp's parser treats trailer fields of a body as header fields of the next request
            # on the connection. If a proxy shares connections among clients, one client could add
            # X-Auth-Token to another's request. RFC 9112, section 7.1.2, forbids merging trailers
            # into headers.
            response.force_close()
        return response

    async def _check_and_answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose Host, Expect and path are valid. Raises Problem for others.

        An invalid Host must be answered with 400 (RFC 9112, section 3.2). HTTP/1.0 needs no Host;
        without one, `request.host` of aiohttp would ask the resolver, which blocks the event loop.
        Expect is checked here because aiohttp handles it before any middleware, and would repeat
        its value in the answer.
        """
        host = request.headers.get("Host")
        if host is not None and not _is_host(host):
            note_refused(self._noise, client_address(request), "host")
            raise bad_request("The header 'Host' is not valid")
        if "Expect" in request.headers:  # any value but 100-continue, which is already removed
            note_refused(self._noise, client_address(request), "expect")
            raise general(417)
        if request.raw_path.partition("?")[0].count("/") > MAX_SLASHES:
            raise not_found()
        return await self._application(request)


def _without_expect(request: web.Request) -> web.Request:
    """Remove `Expect: 100-continue`, so that aiohttp does not answer it before the handler runs.

    With HTTP/1.1 the request is marked, and `read_raw` sends `100 Continue`. A request with another
    expectation is returned as it is.
    """
    headers = request.headers.copy()
    if headers.get("Expect", "").lower() != "100-continue":
        return request
    headers.popall("Expect")
    made = request.clone(headers=headers)
    if request.version >= HttpVersion11:
        made[EXPECTS] = True
    return made


class Server(web.Server):
    """An aiohttp server whose connections are of the class `api.connection.Connection`."""

    def __init__(self, handler: Any, *, noise: Noise, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._noise = noise

    @property
    def connections(self) -> list[Any]:
        """The open connections, of the class `api.connection.Connection`."""
        return list(super().connections)

    def __call__(self) -> Connection:
        """Return the protocol object of a new connection."""
        # `_loop` and `_kwargs` are private attributes of aiohttp's server. Its method `__call__`
        # passes them in the same way.
        return Connection(self, noise=self._noise, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on `Server`. aiohttp has no setting for the class of connections."""

    # This class uses names that are private in aiohttp: there are no public ones. In the runner,
    # `_make_server` makes the server, `_app` is the application, and `_shutdown_timeout` is the
    # timeout at the end. In a site, `_server` is the asyncio server. In the server that
    # `_make_server` returns, `_loop` is the event loop, and `_kwargs` are other settings.
    _watch: "asyncio.Task[None] | None" = None

    async def drain(self, wait_s: float, *, within_s: float) -> None:
        """Stop accepting connections without losing a request. Call `cleanup` afterwards.

        For `wait_s` seconds, all requests are still answered, but `/health/ready` answers 503 and
        each answer closes its connection. Then new connections are refused, and open ones have
        `within_s` seconds to end.
        """
        self._app[PARTS].drain.begin()
        self._app[PARTS].waiters.end()
        log.info("api stops", in_s=wait_s)
        await asyncio.sleep(wait_s)
        deadline = asyncio.get_running_loop().time() + within_s
        listeners = [site._server for site in self.sites if site._server is not None]
        await refuse_new(each for server in listeners for each in server.sockets)  # type: ignore[attr-defined]  # asyncio's Server has it
        for site in list(self.sites):
            await site.stop()
        if isinstance(self.server, Server):
            await let_go(self.server, within_s=within_s)
        # Requests that still run may use only the rest of `within_s`, but at least one second.
        self._shutdown_timeout = max(1.0, deadline - asyncio.get_running_loop().time())

    async def cleanup(self) -> None:
        """Stop the server and the application."""
        if self._watch is not None:
            self._watch.cancel()
        await super().cleanup()

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        parts = self._app[PARTS]  # the parts exist, because the application has started
        noise = parts.noise
        answers = Answers(
            made.request_handler,
            noise=noise,
            proxies=parts.settings.proxies,
            drain=parts.drain,
            logged=parts.settings.log_requests,
        )
        server = Server(
            answers.answer,
            noise=noise,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._watch = asyncio.create_task(cut_off_slow_readers(server, noise))
        return server
