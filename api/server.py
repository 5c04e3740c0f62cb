"""The HTTP server around the application: what it refuses by itself is answered as JSON:API too.

What cannot be parsed never reaches a middleware. aiohttp answers it in plain text with a piece of
what was sent, and logs that piece with a traceback: it may hold a token.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.problems import answer_errors, bad_request, general
from shared.log import get_logger

# RFC 3986, section 3.2: a name or an address, and a port; with `_`, as containers' names have it.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

log = get_logger(__name__)


async def answer(
    request: Any, *, application: Callable[[Any], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Have the application answer a request whose Host and Expect can be read.

    A Host that is none would stand in links (RFC 9112, section 3.2); at Expect aiohttp looks
    before any middleware, and shows it again.
    """

    async def checked(request: web.Request) -> web.StreamResponse:
        if not _HOST.fullmatch(request.host):
            raise bad_request("The header 'Host' is not valid")
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            raise general(417)
        return await application(request)

    return await answer_errors(request, checked)


class Connection(web.RequestHandler):
    """One client's connection; it ends with whatever could not be parsed."""

    __slots__ = ()

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
            log.info("unreadable request", error=type(exc).__name__)
        else:
            log.error("unexpected error", exc_info=exc)
        response = general(400 if status == 400 else 500).response()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp found; of a body that broke off after its answer, only that it did."""
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            log.info("unreadable request", error=type(error).__name__)
        else:
            super().log_exception(*args, **kwargs)


class Server(web.Server):
    """Makes our kind of connection."""

    def __call__(self) -> Connection:
        """Make the protocol of one connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on our server; aiohttp has no setting for the kind of connection."""

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        return Server(
            partial(answer, application=made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
