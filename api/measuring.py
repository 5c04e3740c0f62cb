"""Metrics of requests: number and duration by route, method and status."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import Histogram

REQUESTS = Histogram(
    "attachments_request_seconds",
    "Requests by route, method and status",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that have a label of their own. All others are counted as `other`, because a client may
invent any number of methods."""

# A cache of the series in REQUESTS, which avoids its lock and its checks of labels.
_series: dict[tuple[str, str, int], Histogram] = {}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def route_of(request: web.Request) -> str:
    """Return the pattern of a request's route, without a slash at its end; `none` without a route.

    The address itself is never returned, because it may hold a secret (/events/s3/{token}).
    """
    match = getattr(request, "match_info", None)
    resource = match.route.resource if match is not None else None
    return "none" if resource is None else resource.canonical.rstrip("/")


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time a request by its route's pattern; no label holds text of a client."""
    started = time.perf_counter()
    response = await handler(request)
    route = route_of(request)
    method = request.method if request.method in METHODS else "other"
    labels = (route, method, response.status)
    series = _series.get(labels)
    if series is None:
        series = _series[labels] = REQUESTS.labels(*labels)
    series.observe(time.perf_counter() - started)
    return response
