"""The id of each request, and the log line of each answer."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from api.measuring import METHODS, REQUESTS, find_route, route_of
from shared import traces
from shared.log import get_logger
from shared.log_fields import RequestFields, begin_fields, end_fields, field
from shared.request_ids import HEADER, request_id

UNLOGGED: Final = frozenset({"/health/live", "/health/ready"})
"""The routes whose requests are not logged, because load balancers send them every few seconds."""

log = get_logger(__name__)


def request_logger() -> Callable[..., None]:
    """Return the function that logs an answered request. Call it after `configure_logging`."""
    logger = log.bind()
    later: Callable[..., None] = getattr(logger, "later", logger.info)
    return later


class Answering:
    """The context in which a request is answered. All log lines in it have the request's id.

    The context begins when the object is made, and ends with `close`. The id comes from the header
    `X-Request-Id` or `traceparent`; without these headers, it is new. If traces are on, there is
    also a span for each request except health checks.
    """

    __slots__ = ("_id", "_outer", "_span", "_started")

    def __init__(self, request: Any) -> None:
        self._started = time.perf_counter()
        self._id = own_id = request_id(request.headers)
        fields = RequestFields(request_id=own_id)
        self._span = None if traces.recorder is None else _begin_span(request, own_id)
        if self._span is not None:
            fields["trace_id"] = self._span.trace_id
            self._span.__enter__()
        self._outer = begin_fields(fields)

    def close(self) -> None:
        """End the context, also after an exception. Call it once."""
        end_fields(self._outer)
        if self._span is not None:
            self._span.__exit__(*sys.exc_info())

    def end(
        self,
        request: Any,
        response: web.StreamResponse,
        *,
        log_request: Callable[..., None] | None,
    ) -> None:
        """Add the id to the answer, count the answer, and log it with `log_request`.

        A request that is refused before its route is searched is not counted here. Health checks
        are not logged, because load balancers send them every few seconds. The line has no text of
        the client except the id. It has the route's pattern and not the address, which may contain
        a token.
        """
        response.headers[HEADER] = self._id
        status, route = response.status, find_route(request)
        method = request.method
        if method not in METHODS:
            method = "other"
        if self._span is not None:
            _describe(self._span, request, status)
        seconds = time.perf_counter() - self._started
        if route is not None:
            REQUESTS.note(route, method, status, seconds)
        if log_request is not None and route not in UNLOGGED:
            log_request(
                "request",
                method=method,
                route=route or "none",
                status=status,
                milliseconds=round(seconds * 1000, 2),
            )


def _begin_span(request: Any, own_id: str) -> traces.Span | None:
    """Begin the span of a request. Health checks get none, because there are too many."""
    recorder = traces.recorder
    assert recorder is not None
    if request.raw_path.startswith("/health/"):
        return None
    method = request.method if request.method in METHODS else "_OTHER"
    attributes = {"http.request.method": method, "attachments.request_id": own_id}
    return recorder.serve("HTTP" if method == "_OTHER" else method, attributes, request.headers)


def _describe(span: traces.Span, request: Any, status: int) -> None:
    """Add to a span what is known after the answer: the status, the organization, the route.

    The address is never added, because it may contain a token.
    """
    attributes: dict[str, traces.Value | None] = {
        "http.response.status_code": status,
        "attachments.organization_id": field("organization"),
    }
    route = route_of(request)
    if route != "none":
        attributes["http.route"] = route
        method = request.method if request.method in METHODS else "HTTP"
        span.rename(f"{method} {route}")
    span.set(attributes)
    if status >= 500:
        span.fail(str(status))
