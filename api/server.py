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

from api.bodies import EXPECTS
from api.clients import PROXIES, client_address
from api.connection import Connection, name_no_inside, note_refused
from api.draining import Drain, let_go, refuse_new
from api.noise import CALLER, NOISE, Noise
from api.parts import PARTS
from api.problems import answer_errors, bad_request, general, not_found
from api.slow_readers import cut_off_slow_readers
from shared.log import get_logger
from shared.proxies import Proxies

# RFC 3986, section 3.2: a name or an address, and a port; with `_`, as containers' names have it.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

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
            note_refused(noise, client_address(request), "host")
            raise bad_request("The header 'Host' is not valid")
        expect = request.headers.get("Expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                note_refused(noise, client_address(request), "expect")
                raise general(417)
            request = _without_expect(request)
        if request.raw_path.partition("?")[0].count("/") > MAX_SLASHES:
            raise not_found()
        return await application(request)

    response = await answer_errors(request, checked)
    if 400 <= response.status < 500 and CALLER not in request:
        await noise.pace.wait()
    name_no_inside(response)
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
