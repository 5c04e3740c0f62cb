"""Metrics of requests: their number by route and status, their duration by route and method."""

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
"""The methods that metrics and the log name. All others are `other`, because a client may invent
any number of them."""

LABELS = {**{method: method for method in METHODS}, "HEAD": "GET"}
"""The label for each method. HEAD is counted as GET, because it is answered in the same way."""

UNTIMED = {
    "/openapi.json": "/docs",
    "/docs": "/docs",
    "/docs/{file}": "/docs",
    "/client/{name}": "/client/{name}",
}
"""The metric labels of routes whose files are the same for all clients. Requests to these routes
are counted but not timed, because a process may have only a limited number of series."""

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the buckets of durations, in seconds."""

_BOUND_LABELS: Final = [*map(str, BOUNDS), "+Inf"]
"""The label `le` of each bucket."""


class _Durations:
    """The durations of the requests with one route and method: a number for each bucket."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUND_LABELS)
        self.seconds = 0.0


class RequestCounts(Collector):
    """Counts and times requests; prometheus-client reads the numbers when it is scraped.

    Only the event loop counts, so no lock is needed. The counters of prometheus-client take a lock
    at each step and check their labels, which costs a request four times as much.
    """

    def __init__(self) -> None:
        self._numbers: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._durations: defaultdict[tuple[str, str], _Durations] = defaultdict(_Durations)

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; no label holds text of a client.

        `route` is the result of `find_route`.
        """
        if route in UNTIMED:
            self._numbers[UNTIMED[route], status] += 1
            return
        self._numbers[route, status] += 1
        label = "other" if route == "none" else LABELS.get(method, "other")
        durations = self._durations[route, label]
        durations.buckets[bisect_left(BOUNDS, seconds)] += 1
        durations.seconds += seconds

    def describe(self) -> tuple[CounterMetricFamily, HistogramMetricFamily]:
        """Return both metrics without a value."""
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
        """Read both metrics; a scrape does so in a thread."""
        numbers, seconds = self.describe()
        # Each copy is one step of the interpreter, so the event loop cannot change a dictionary or
        # a list while it is read.
        for (route, status), number in self._numbers.copy().items():
            numbers.add_metric([route, str(status)], number)
        for (route, method), durations in self._durations.copy().items():
            sums = accumulate(durations.buckets.copy())
            buckets = list(zip(_BOUND_LABELS, map(float, sums), strict=True))
            seconds.add_metric([route, method], buckets, durations.seconds)
        return numbers, seconds


REQUESTS: Final = RequestCounts()
REGISTRY.register(REQUESTS)


def route_of(request: Any) -> str:
    """Return the pattern of a request's route, without a slash at its end; `none` without a route.

    The address itself is never returned, because it may contain a secret (/events/s3/{token}).
    """
    return find_route(request) or "none"


def find_route(request: Any) -> str | None:
    """Do the same as `route_of`; None if the request was refused before any route was searched."""
    try:
        match = request.match_info
    except (AssertionError, AttributeError):  # aiohttp raises them if it has searched no route
        return None
    if match is None:
        return None
    resource = match.route.resource
    return "none" if resource is None else _pattern(resource)


@lru_cache(maxsize=256)  # the API has fewer resources, so all patterns stay in the cache
def _pattern(resource: web.AbstractResource) -> str:
    return resource.canonical.rstrip("/")
