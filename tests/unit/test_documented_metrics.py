"""The documented metrics are those of the code, and a process has few series."""

import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from math import prod

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

import api
import shared
import worker
from api.app import routes
from api.measuring import UNTIMED, RequestCounts
from tests.support.metric_labels import (
    PAGE,
    ROUTES,
    VALUES,
    documented,
    documented_values,
    label_of,
    statuses_of,
)
from tests.support.metric_values import MOST_SERIES

TYPES = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}

OTHERS = 40
"""How many series prometheus-client itself adds, about Python and the process."""

PAIRS = {
    (label, each.method)
    for each in routes()
    if (label := label_of(each.path)) not in UNTIMED.values()
}
DIALECT, EFFECT = (("attachments_events_total", label) for label in ("dialect", "effect"))
SERIES = {
    # Only messages of SNS have the effect `refused`, so this effect adds one series.
    "attachments_events_total": len(VALUES[DIALECT]) * (len(VALUES[EFFECT]) - 1) + 1,
    "attachments_request_seconds": len(PAIRS) + 1,
    "attachments_requests_total": sum(len(statuses_of(each)) for each in {*ROUTES, "none"}),
}
"""The number of series of each metric whose labels do not occur in all combinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A metric that the code creates; `buckets` is 0 unless the metric is a histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str
    buckets: int


def metrics() -> Iterator[Made]:
    """Yield the metrics that the service's modules create."""
    seen = set()
    for package in (api, shared, worker):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name.endswith("__main__") or ".migrations." in each.name:
                continue
            for value in vars(import_module(each.name)).values():
                if isinstance(value, MetricWrapperBase | RequestCounts) and id(value) not in seen:
                    seen.add(id(value))
                    yield from shapes_of(value)


def shapes_of(made: MetricWrapperBase | RequestCounts) -> Iterator[Made]:
    """Describe a metric of prometheus-client, or the metrics of requests.

    The service collects the metrics of requests itself, in a `RequestCounts`.
    """
    if isinstance(made, RequestCounts):
        made = RequestCounts()
        made.note("/", "GET", 200, 0.1)
        for family in made.collect():
            labels = {name: None for each in family.samples for name in each.labels}
            yield Made(
                name=f"{family.name}_total" if family.type == "counter" else family.name,
                kind=family.type,
                labels=tuple(name for name in labels if name != "le"),
                documentation=family.documentation,
                buckets=sum("le" in each.labels for each in family.samples),
            )
        return
    kind = TYPES[type(made)]
    # `_name`, `_labelnames`, `_documentation` and `_upper_bounds` are private in prometheus-client.
    # It has no public way to read them.
    yield Made(
        name=f"{made._name}_total" if kind == "counter" else made._name,
        kind=kind,
        labels=tuple(made._labelnames),
        documentation=made._documentation,
        buckets=len(made._upper_bounds) if isinstance(made, Histogram) else 0,
    )


MADE = {each.name: each for each in metrics()}


def test_every_metric_is_documented_and_no_other() -> None:
    sent = {name: (row.kind, row.labels) for name, row in documented().items()}
    assert {name: (each.kind, each.labels) for name, each in MADE.items()} == sent


def test_names_follow_the_conventions() -> None:
    for name, metric in MADE.items():
        assert re.fullmatch(r"attachments_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name
        if metric.kind == "histogram":
            assert name.endswith(("_seconds", "_bytes")), name
        assert not name.endswith(("_ms", "_milliseconds", "_mb", "_kilobytes")), name
        assert metric.documentation


def test_expressions_name_metrics_that_exist() -> None:
    named = set(re.findall(r"`?\b(attachments_\w+?)(?:_bucket|_sum|_count)?\b", PAGE.read_text()))
    # The page also names `attachments_backlog`, which is a database view and not a metric.
    assert named - set(MADE) <= {"attachments_backlog"}


@pytest.mark.parametrize("process", ["A", "W", "C"])
def test_a_process_has_a_bounded_number_of_series(process: str) -> None:
    total = OTHERS
    for name, row in documented().items():
        if process not in row.processes:
            continue
        series = SERIES.get(name) or prod(len(VALUES[name, label]) for label in row.labels)
        buckets = MADE[name].buckets
        # A histogram has one series for each bucket, one for the sum and one for the count.
        each = buckets + 2 if buckets else 1
        total += series * each
    assert total <= MOST_SERIES


def test_every_label_has_a_list_of_values_and_no_other() -> None:
    made = {(name, label) for name, each in MADE.items() for label in each.labels}
    assert set(VALUES) == made
    assert set(documented_values()) == made


@pytest.mark.parametrize("of", VALUES, ids="-".join)
def test_the_values_of_a_label_are_documented_and_no_other(of: tuple[str, str]) -> None:
    listed = documented_values()[of]
    begun = tuple(each.removesuffix("…") for each in listed if each.endswith("…"))
    whole = {each for each in listed if not each.endswith("…")}
    rest = VALUES[of] - whole - {""}
    assert whole <= VALUES[of]
    assert {each for each in rest if not each.startswith(begun or ("\0",))} == set()
    assert [each for each in begun if not any(value.startswith(each) for value in rest)] == []
