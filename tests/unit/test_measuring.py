"""The metrics of requests are the same as if prometheus-client itself counted the requests."""

import hypothesis.strategies as st
from hypothesis import given
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from api.measuring import BOUNDS, RequestCounts

ROUTES = {"/a": "/a", "/a/{id}": "/a/{id}", "/openapi.json": "/docs", "/docs": "/docs"}
METHODS = {"GET": "GET", "HEAD": "GET", "PATCH": "PATCH", "MADE-UP": "other"}

requests = st.lists(
    st.tuples(
        st.sampled_from([*ROUTES, "none"]),
        st.sampled_from([*METHODS]),
        st.sampled_from([200, 404]),
        st.one_of(st.sampled_from(BOUNDS), st.floats(min_value=0, max_value=20)),
    )
)


@given(requests)
def test_requests_are_counted_as_prometheus_client_counts_them(
    answered: list[tuple[str, str, int, float]],
) -> None:
    ours, usual = CollectorRegistry(), CollectorRegistry()
    counts = RequestCounts()
    ours.register(counts)
    numbers = Counter(
        "attachments_requests_total",
        "Requests by route and status",
        ["route", "status"],
        registry=usual,
    )
    seconds = Histogram(
        "attachments_request_seconds",
        "Requests by route and method",
        ["route", "method"],
        buckets=BOUNDS,
        registry=usual,
    )
    for route, method, status, taken_s in answered:
        counts.note(route, method, status, taken_s)
        numbers.labels(ROUTES.get(route, route), status).inc()
        if ROUTES.get(route) != "/docs":
            label = "other" if route == "none" else METHODS[method]
            seconds.labels(route, label).observe(taken_s)
    assert lines_of(ours) == lines_of(usual)


def lines_of(registry: CollectorRegistry) -> list[str]:
    """Return the lines of a scrape in a fixed order, without the times at which series began.

    Sums are rounded, because they depend on the order of the additions.
    """
    lines = []
    for line in generate_latest(registry).decode().splitlines():
        name, _, value = line.rpartition(" ")
        if "_sum{" in name:
            line = f"{name} {float(value):.9f}"
        if "_created" not in line:
            lines.append(line)
    return sorted(lines)
