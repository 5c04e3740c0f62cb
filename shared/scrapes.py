"""The server of metrics: whoever reaches its port costs the process next to nothing.

aiohttp's own logs each request that it cannot parse, with a traceback and a piece of what was sent.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from shared.connections import TidyConnection
from shared.listening import SERVER
from shared.log import get_logger
from shared.throttle import Throttle

PATHS = frozenset({"/metrics", "/metrics/"})

MAX_CONNECTIONS = 100
"""Further connections are closed at once: each holds a descriptor, and what it does not read."""

log = get_logger(__name__)


class Connection(TidyConnection):
    """One client's connection; it ends with whatever could not be parsed."""

    __slots__ = ("_address", "_refusals")

    def __init__(self, manager: web.Server, *, unreadable: Throttle, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._refusals = unreadable
        self._address = "unknown"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request, unless there are too many connections."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._address = str(peer[0])
        if self._manager is not None and len(self._manager.connections) > MAX_CONNECTIONS:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer 400 to what could not be parsed, with no word of it; a bug is aiohttp's 500."""
        if status != 400 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        self._note(exc)
        response = web.Response(status=400, text="400: Bad Request")
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp found; of what could not be parsed only its kind."""
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._note(error)
        else:
            super().log_exception(*args, **kwargs)

    def _note(self, error: BaseException | None) -> None:
        # The error's text holds a piece of what was sent; its class is one of the parser's few.
        kind = type(error).__name__
        self._refusals.log(
            "unreadable request for metrics", kind, reason=kind, address=self._address
        )


class Server(web.Server):
    """Makes our kind of connection."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self.unreadable = Throttle(log.info)

    def __call__(self) -> Connection:
        """Make the protocol of one connection."""
        # private in aiohttp: its own `__call__` gives them to its own kind of connection
        return Connection(self, unreadable=self.unreadable, loop=self._loop, **self._kwargs)


def make_server(body: Callable[[], bytes], **settings: Any) -> Server:
    """Make a server that answers `GET /metrics` with `body()`; `settings` are aiohttp's.

    There is no router: aiohttp's looks for a route once for each slash of a path.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.partition("?")[0] not in PATHS:
            response = web.Response(status=404, text="404: Not Found")
        elif request.method not in ("GET", "HEAD"):
            response = web.Response(
                status=405, text="405: Method Not Allowed", headers={"Allow": "GET,HEAD"}
            )
        else:
            response = web.Response(
                body=body(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            )
        response.headers["Server"] = SERVER
        if request.body_exists:  # of no use here, and aiohttp takes trailers for the next request's
            response.force_close()
        return response

    return Server(answer, access_log=None, **settings)
