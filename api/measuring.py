"""Metrics of requests. They are counted by route and status, and timed by route and method."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that appear in metrics and in the log. Any other method appears as `other`, because a
client may invent any number of methods."""

LABELS = {**{method: method for method in METHODS}, "HEAD": "GET"}
"""The label for each method. HEAD is counted as GET, because it is answered in the same way."""

UNTIMED = {
    "/openapi.json": "/docs",
    "/docs": "/docs",
    "/docs/{file}": "/docs",
    "/client/{name}": "/client/{name}",
}
"""Routes whose answers are the same for all clients, with their labels in metrics. Requests to
these routes are counted but not timed, to keep the number of series small."""

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the buckets of durations, in seconds."""

_BOUND_LABELS: Final = [*map(str, BOUNDS), "+Inf"]
"""The label `le` of each bucket."""


class _Requests:
    """The requests with one route, method and status: their number and durations."""

    __slots__ = ("buckets", "number", "seconds")

    def __init__(self) -> None:
        self.number = 0
        self.buckets = [0] * len(_BOUND_LABELS)
        self.seconds = 0.0


class RequestCounts(Collector):
    """Counts and times requests; prometheus-client reads the numbers when it is scraped.

    Only the event loop changes the numbers, so no lock is needed. The counters of prometheus-client
    would be slower: they take a lock and check their labels at each step.
    """

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, int], _Requests] = defaultdict(_Requests)

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request. `route` is the result of `find_route`.

        `method` is one of METHODS or `other`, so no label holds text of a client.
        """
        requests = self._requests[route, method, status]
        requests.number += 1
        requests.buckets[bisect_left(BOUNDS, seconds)] += 1
        requests.seconds += seconds

    def describe(self) -> tuple[CounterMetricFamily, HistogramMetricFamily]:
        """Return both metrics without values."""
        # There are two metrics, because a histogram with all three labels could have thousands of
        # series.
        return (
            CounterMetricFamily(
                "attachments_requests_total",
                "Requests by route and status",
                labels=["route", "status"],
            ),
            HistogramMetricFamily(
                "attachments_request_seconds",
                "Requests by route and method",
                labels=["route", "method"],
            ),
        )

    def collect(self) -> Iterable[Metric]:
        """Return both metrics with their values. A scrape calls this in a thread."""
        numbers, seconds = self.describe()
        by_status: defaultdict[tuple[str, int], int] = defaultdict(int)
        by_method: dict[tuple[str, str], tuple[list[int], float]] = {}
        # The event loop may change these dictionaries and lists at any time, so they are copied.
        # The interpreter makes a copy in one step, without running another thread.
        for (route, method, status), requests in self._requests.copy().items():
            by_status[UNTIMED.get(route, route), status] += requests.number
            if route in UNTIMED:
                continue
            label = "other" if route == "none" else LABELS.get(method, "other")
            buckets, total = by_method.get((route, label), ([0] * len(_BOUND_LABELS), 0.0))
            added = [sum(pair) for pair in zip(buckets, requests.buckets.copy(), strict=True)]
            by_method[route, label] = added, total + requests.seconds
        for (route, status), number in by_status.items():
            numbers.add_metric([route, str(status)], number)
        for (route, label), (buckets, total) in by_method.items():
            sums = map(float, accumulate(buckets))
            pairs = list(zip(_BOUND_LABELS, sums, strict=True))
            seconds.add_metric([route, label], pairs, total)
        return numbers, seconds


REQUESTS: Final = RequestCounts()
REGISTRY.register(REQUESTS)


def route_of(request: Any) -> str:
    """Return the pattern of a request's route, without a slash at its end; `none` without a route.

    The address itself is never returned, because it may contain a secret (/events/s3/{token}).
    """
    return find_route(request) or "none"


def find_route(request: Any) -> str | None:
    """Return what `route_of` returns; None if the request was refused before the route search."""
    try:
        match = request.match_info
    except (AssertionError, AttributeError):  # aiohttp has not searched a route yet
        return None
    if match is None:
        return None
    return _pattern(match.route)


@lru_cache(maxsize=256)  # the API has fewer than 256 routes, so the cache holds all patterns
def _pattern(route: web.AbstractRoute) -> str:
    resource = route.resource
    return "none" if resource is None else resource.canonical.rstrip("/")
