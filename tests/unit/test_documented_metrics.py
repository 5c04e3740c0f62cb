"""The documented metrics are those of the code, and each process has few series."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

import api
import shared
import worker
from api.app import routes
from api.noise import RefusalKind
from shared.broker import QUEUES
from shared.due import Duty
from shared.metrics import StoreVerb
from shared.notifications.event import Effect
from shared.notifications.reading import DIALECTS
from shared.reasons import REASONS
from shared.states import END_STATES
from shared.webhooks.kinds import Deactivation, DeliveryFault
from worker.decoding.formats import FORMATS, Box
from worker.measuring import AttemptResult, KillCause, Recovered
from worker.stages import STAGES

PAGE = Path(__file__).parents[2] / "deploy/docs/metrics.md"
ROW = re.compile(
    r"^\| `(attachments_\w+)` \| (counter|gauge|histogram) \|([^|]*)\| ([AWC ]+) \|", re.MULTILINE
)
TYPES = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}

MOST_SERIES = 1000
OTHERS = 40
"""The number of series that prometheus-client adds about Python and the process."""

STATUSES = 20
"""An upper bound of the number of statuses with which one route responds."""

STATUSES_OF_READING = 14
"""The same for a route that takes no body: no 201, 408, 409, 413, 415, 417, 422."""

OWN_ROUTES = {each.path.rstrip("/") for each in routes()}
WITH_BODIES = {
    each.path.rstrip("/") for each in routes() if each.method in ("POST", "PATCH", "DELETE")
}

VALUES = {
    ("attachments_attempts_total", "result"): len(get_args(AttemptResult)),
    ("attachments_broker_queue_messages", "queue"): QUEUES,
    ("attachments_database_connections", "state"): 2,
    ("attachments_decoder_cpu_seconds_total", "format"): len(FORMATS) + 1,
    ("attachments_decoder_kills_total", "cause"): len(get_args(KillCause)),
    ("attachments_events_total", "dialect"): len(DIALECTS) + 3,
    ("attachments_events_total", "effect"): len(get_args(Effect)) + 1,
    ("attachments_refused_requests_total", "reason"): len(get_args(RefusalKind)),
    # The table SERIES counts pairs of route and method, so each of the two labels counts as 1 here.
    ("attachments_request_seconds", "route"): 1,
    ("attachments_request_seconds", "method"): 1,
    # The same holds for pairs of route and status.
    ("attachments_requests_total", "route"): 1,
    ("attachments_requests_total", "status"): 1,
    ("attachments_stage_seconds", "stage"): len(STAGES),
    ("attachments_store_errors_total", "verb"): len(get_args(StoreVerb)),
    ("attachments_store_errors_total", "error"): 2,
    ("attachments_store_request_seconds", "verb"): len(get_args(StoreVerb)),
    ("attachments_sweep_recovered_total", "cause"): len(get_args(Recovered)),
    ("attachments_sweep_taken_total", "duty"): len(Duty),
    ("attachments_trace_spans_total", "result"): 2,
    ("attachments_uploads_total", "state"): len(END_STATES),
    ("attachments_uploads_total", "reason"): len(REASONS) + 2,
    ("attachments_webhook_deliveries_total", "result"): len(get_args(DeliveryFault)) + 1,
    ("attachments_webhooks_deactivated_total", "reason"): len(get_args(Deactivation)),
}
"""The number of values of each label, from a Literal, an enumeration or a table of the code."""

PAIRS = {(each.path.rstrip("/"), each.method) for each in routes()}
SERIES = {
    "attachments_request_seconds": len(PAIRS) + 1,
    "attachments_requests_total": (
        (len(WITH_BODIES) + 1) * STATUSES + len(OWN_ROUTES - WITH_BODIES) * STATUSES_OF_READING
    ),
}
"""The number of series by pairs of labels, plus those of requests without a route."""


def metrics() -> Iterator[MetricWrapperBase]:
    """Find the metrics that modules of the service create."""
    seen = set()
    for package in (api, shared, worker):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name.endswith("__main__") or ".migrations." in each.name:
                continue
            for value in vars(import_module(each.name)).values():
                if isinstance(value, MetricWrapperBase) and id(value) not in seen:
                    seen.add(id(value))
                    yield value


def shape_of(metric: MetricWrapperBase) -> tuple[str, str, tuple[str, ...]]:
    """Return the name, the type and the labels of a metric."""
    kind = TYPES[type(metric)]
    # These names are private in prometheus-client, which has no public way to read them.
    name, labels = metric._name, metric._labelnames
    return f"{name}_total" if kind == "counter" else name, kind, tuple(labels)


MADE = {shape_of(metric)[0]: (metric, *shape_of(metric)[1:]) for metric in metrics()}


def documented() -> dict[str, tuple[str, tuple[str, ...], set[str]]]:
    """Read the documented table: type, labels and processes of each metric."""
    rows = ROW.findall(PAGE.read_text("utf-8"))
    assert len(rows) == len({name for name, *_ in rows})
    return {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), set(processes.split()))
        for name, kind, labels, processes in rows
    }


def test_every_metric_is_documented_and_no_other() -> None:
    sent = {name: (kind, labels) for name, (kind, labels, _) in documented().items()}
    assert {name: (kind, labels) for name, (_, kind, labels) in MADE.items()} == sent


def test_names_follow_the_conventions() -> None:
    for name, (metric, kind, _) in MADE.items():
        assert re.fullmatch(r"attachments_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith(("_seconds", "_bytes")), name
        assert not name.endswith(("_ms", "_milliseconds", "_mb", "_kilobytes")), name
        assert metric._documentation


def test_expressions_name_metrics_that_exist() -> None:
    named = set(re.findall(r"`?\b(attachments_\w+?)(?:_bucket|_sum|_count)?\b", PAGE.read_text()))
    # `attachments_backlog` is the name of a view of the database, so it is left out.
    assert named - set(MADE) <= {"attachments_backlog"}


@pytest.mark.parametrize("process", ["A", "W", "C"])
def test_a_process_has_a_bounded_number_of_series(process: str) -> None:
    total = OTHERS
    for name, (_, labels, processes) in documented().items():
        if process not in processes:
            continue
        series = SERIES.get(name, 1)
        for label in labels:
            series *= len(Box) if label == "kind" else VALUES[name, label]
        metric = MADE[name][0]
        # A histogram has one series for each bucket, one for the sum and one for the count.
        each = len(metric._upper_bounds) + 2 if isinstance(metric, Histogram) else 1
        total += series * each
    assert total <= MOST_SERIES


NAMED = {
    "attachments_attempts_total": get_args(AttemptResult),
    "attachments_decoder_kills_total": get_args(KillCause),
    "attachments_stage_seconds": STAGES,
    "attachments_store_errors_total": ("refused", "unavailable"),
    "attachments_sweep_recovered_total": get_args(Recovered),
    "attachments_sweep_taken_total": tuple(Duty),
}


@pytest.mark.parametrize("name", NAMED)
def test_the_values_of_a_label_are_documented(name: str) -> None:
    (line,) = (each for each in PAGE.read_text().splitlines() if each.startswith(f"| `{name}` |"))
    sent = set(re.findall(r"`(\w+)`", line.rsplit(" | ", 1)[1]))
    assert set(NAMED[name]) == sent
