"""Metrics of requests: their number by route and status, their duration by route and method."""

import time
from collections.abc import Awaitable, Callable
from functools import cache

from aiohttp import web
from prometheus_client import Counter, Histogram

# Two metrics, because a histogram with all three labels could have thousands of series.
REQUESTS = Counter(
    "attachments_requests_total", "Requests by route and status", ["route", "status"]
)

REQUEST_SECONDS = Histogram(
    "attachments_request_seconds",
    "Requests by route and method",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that metrics and the log name. All others are `other`, because a client may invent
any number of them."""

# Both results of `labels` are cached, because a call takes a lock and checks the labels.
_seconds = cache(REQUEST_SECONDS.labels)
_requests = cache(REQUESTS.labels)

LABELS = {**{method: method for method in METHODS}, "HEAD": "GET"}
"""The label for each method. HEAD is counted as GET, because it is answered in the same way."""

UNTIMED = {
    "/openapi.json": "/docs",
    "/docs": "/docs",
    "/docs/{file}": "/docs",
    "/client/{name}": "/client/{name}",
}
"""The metric labels of routes whose files are the same for all clients. Such requests are counted
but not timed, because a process may have only a limited number of series."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def route_of(request: web.Request) -> str:
    """Return the pattern of a request's route, without a slash at its end; `none` without a route.

    The address itself is never returned, because it may contain a secret (/events/s3/{token}).
    """
    match = getattr(request, "match_info", None)
    resource = match.route.resource if match is not None else None
    return "none" if resource is None else resource.canonical.rstrip("/")


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time a request by the pattern of its route. No label has text from a client."""
    started = time.perf_counter()
    response = await handler(request)
    route = route_of(request)
    if route in UNTIMED:
        _requests(UNTIMED[route], response.status).inc()
        return response
    method = "other" if route == "none" else LABELS.get(request.method, "other")
    _requests(route, response.status).inc()
    _seconds(route, method).observe(time.perf_counter() - started)
    return response
