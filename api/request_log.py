"""The id of each request, and the log line of each answer."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from api.measuring import METHODS, route_of
from shared.log import get_logger
from shared.log_fields import Fields
from shared.request_ids import HEADER, request_id

log = get_logger(__name__)


class Answering:
    """A block in which a request is answered: all its log lines have the request's id.

    The id is that of the header `X-Request-Id` or `traceparent`, or a new one.
    """

    __slots__ = ("_fields", "_id", "_started")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._started = time.perf_counter()
        self._id = request_id(headers)
        self._fields = Fields(request_id=self._id)

    def __enter__(self) -> Self:
        self._fields.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._fields.__exit__(kind, error, trace)

    def end(self, request: Any, response: web.StreamResponse, *, logged: bool) -> None:
        """Put the id into the answer, and log the answer if `logged` is true.

        Health checks are not logged: load balancers send them every few seconds.
        The line holds no text of the client apart from the id: the line has the route's pattern and
        not the address, which may hold a token.
        """
        response.headers[HEADER] = self._id
        if logged and not (route := route_of(request)).startswith("/health/"):
            log.info(
                "request",
                method=request.method if request.method in METHODS else "other",
                route=route,
                status=response.status,
                milliseconds=round((time.perf_counter() - self._started) * 1000, 2),
            )
