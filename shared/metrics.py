"""The Prometheus metrics that several kinds of process share.

`deploy/docs/metrics.md` lists all metrics.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

# Without this call, each counter and histogram has one more series (`_created`), which nobody
# reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # its package has no types for it

EVENTS = Counter("attachments_events_total", "Events by dialect and effect", ["dialect", "effect"])
"""The values of `effect` are those of `shared.intake.effects`, and `refused` for messages of
SNS."""

OLDER_OBJECTS = Counter(
    "attachments_older_objects_total",
    "Objects older than their row that were found, and not used or deleted",
)

NOT_KEPT = Counter(
    "attachments_dead_letters_not_kept_total",
    "Unreadable messages that were not kept, because one origin sent too many",
)
"""If an identical dead letter exists, a message that is not kept still raises its count."""

BACKLOG_OLDEST_SECONDS = Gauge(
    "attachments_backlog_oldest_seconds",
    "Time since the oldest waiting upload could first have been claimed",
)

BACKLOG_UPLOADS = Gauge("attachments_backlog_uploads", "Uploads that wait for a worker")

DUE_OLDEST_SECONDS = Gauge(
    "attachments_due_oldest_seconds", "Time since the oldest row of the sweep became due"
)

DUE_ROWS = Gauge("attachments_due_rows", "Rows that the sweep must look at now")

DEAD_LETTERS = Gauge("attachments_dead_letters", "Messages that could not be used and are kept")

StoreVerb = Literal[
    "head", "get", "put", "copy", "delete", "list", "versions", "multipart", "credentials"
]

StoreFault = Literal["refused", "unavailable"]
"""`refused`: a retry cannot succeed. `unavailable`: the store did not carry out the request, but a
retry may succeed."""

STORE_SECONDS = Histogram(
    "attachments_store_request_seconds",
    "Requests to the store until their answer begins, by verb",
    ["verb"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 20),
)

STORE_ERRORS = Counter(
    "attachments_store_errors_total",
    "Requests that the store refused or did not answer",
    ["verb", "error"],
)

READ_BYTES = Counter("attachments_store_read_bytes_total", "Bytes of objects read from the store")

PUBLISHED = Counter("attachments_wake_ups_published_total", "Wake-ups given to the broker")

DROPPED = Counter(
    "attachments_wake_ups_dropped_total",
    "Wake-ups left to the sweep: the broker was away, or a queue was full",
)

QUEUE_MESSAGES = Gauge(
    "attachments_broker_queue_messages", "Wake-ups in a queue of the broker", ["queue"]
)

BROKER_UP = Gauge("attachments_broker_up", "1 if the broker carried out the last request, else 0")

ConnectionUse = Literal["in_use", "free"]

DATABASE_CONNECTIONS = Gauge(
    "attachments_database_connections", "Connections of the pools, by use", ["state"]
)

DATABASE_MOST = Gauge(
    "attachments_database_max_connections", "The most connections that the pools may open"
)

DATABASE_WAIT_SECONDS = Histogram(
    "attachments_database_wait_seconds",
    "Waits for a connection, where none was free at once",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 2),
)

DATABASE_ERRORS = Counter(
    "attachments_database_errors_total", "Statements that ended because the database was away"
)

SpanResult = Literal["exported", "lost"]

SPANS = Counter(
    "attachments_trace_spans_total", "Spans of traces by how their export ended", ["result"]
)
"""Spans that were dropped because the queue was full are not counted."""

ProcessKind = Literal["api", "worker", "consume"]
"""The processes that have a metrics address, named by their commands."""

NOT_COUNTED: Final[Mapping[ProcessKind, tuple[MetricWrapperBase, ...]]] = {
    "api": (),
    "worker": (EVENTS, NOT_KEPT, PUBLISHED, DROPPED, QUEUE_MESSAGES),
    "consume": (OLDER_OBJECTS, STORE_SECONDS, STORE_ERRORS, READ_BYTES),
}
"""For each kind of process, the metrics of this module that it never counts. They are hidden there,
because a 0 would look as if nothing had happened."""


class Shown:
    """The metrics of this process, without those that its kind of process never counts."""

    def __init__(self, process: ProcessKind) -> None:
        self._hidden = {
            family.name for metric in NOT_COUNTED[process] for family in metric.describe()
        }

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, as `prometheus_client.generate_latest` needs them."""
        return (family for family in REGISTRY.collect() if family.name not in self._hidden)
