"""The HTTP server of the metrics address, which spends almost no CPU time on unwanted clients.

aiohttp's own server would log each request that it cannot parse, with a traceback and a part of the
received data.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from shared.connections import TidyConnection
from shared.listening import SERVER
from shared.log import get_logger
from shared.throttle import Throttle

MAX_CONNECTIONS = 100
"""At most this many connections are open at one time. Further connections are closed at once,
because each needs a descriptor, and memory for unsent data."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to a request for one path."""

    body: bytes
    content_type: str
    status: int = 200


class Connection(TidyConnection):
    """The connection of one client. It ends after data that could not be parsed.

    `is_answering` is true while the page for a request is made.
    """

    __slots__ = ("_address", "_refusals", "is_answering", "is_ended")

    def __init__(self, manager: web.Server, *, unreadable: Throttle, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._refusals = unreadable
        self._address = "unknown"
        self.is_answering = self.is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request. If there are too many connections, end the oldest one."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._address = str(peer[0])
        # `_manager` is private in aiohttp, which has no public name for a connection's server.
        if isinstance(self._manager, Server):
            self._manager.make_room()

    def end(self) -> None:
        """End the connection now, and discard unsent data."""
        self.is_ended = True
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer 400 to data that could not be parsed, 500 after a bug. The answer repeats no
        data."""
        if status != 400 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        self._note(exc)
        response = web.Response(status=400, text="400: Bad Request")
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log an error of aiohttp. If data could not be parsed, log only the error's class."""
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._note(error)
        else:
            super().log_exception(*args, **kwargs)

    def _note(self, error: BaseException | None) -> None:
        # Only the class is logged, because the error's text contains a part of the received data.
        kind = type(error).__name__
        self._refusals.log(
            "unreadable request for metrics", kind, reason=kind, address=self._address
        )


class Server(web.Server):
    """An aiohttp server whose connections are `Connection`."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self.unreadable = Throttle(log.info)

    def __call__(self) -> Connection:
        """Create the object for one connection."""
        # `_loop` and `_kwargs` are private in aiohttp. `web.Server.__call__` passes them to
        # aiohttp's own class of connections.
        return Connection(self, unreadable=self.unreadable, loop=self._loop, **self._kwargs)

    def make_room(self) -> None:
        """If there are more than MAX_CONNECTIONS, end the oldest one that is not answering."""
        # aiohttp keeps connections in the order in which they were opened.
        present = [
            each for each in self.connections if isinstance(each, Connection) and not each.is_ended
        ]
        if len(present) > MAX_CONNECTIONS:
            next(each for each in present if not each.is_answering).end()


def make_server(pages: Mapping[str, Callable[[], Awaitable[Page]]], **settings: Any) -> Server:
    """Create a server that answers GET with the page of a path; `settings` are aiohttp's.

    Each path exists with and without a slash at its end. aiohttp's router is not used, because it
    searches once for each slash of a path, and a client may send many.
    """
    paths = {**pages, **{f"{path}/": page for path, page in pages.items()}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        show = paths.get(request.raw_path.partition("?")[0])
        if show is None:
            response = web.Response(status=404, text="404: Not Found")
        elif request.method not in ("GET", "HEAD"):
            response = web.Response(
                status=405, text="405: Method Not Allowed", headers={"Allow": "GET,HEAD"}
            )
        else:
            connection = request.protocol
            assert isinstance(connection, Connection)
            connection.is_answering = True
            try:
                page = await show()
            finally:
                connection.is_answering = False
            response = web.Response(
                body=page.body, status=page.status, headers={"Content-Type": page.content_type}
            )
        response.headers["Server"] = SERVER
        if request.body_exists:  # aiohttp would read the body's trailers as the next request
            response.force_close()
        return response

    return Server(answer, access_log=None, **settings)
