"""The metrics that deploy/docs/metrics.md lists, and the values that the code allows for each
label.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from api.app import routes
from api.measuring import LABELS, UNTIMED
from api.noise import RefusalKind
from shared.broker import QUEUES, queue_name
from shared.due import Duty
from shared.metrics import ConnectionUse, SpanResult, StoreFault, StoreVerb
from shared.notifications.event import Effect
from shared.notifications.reading import DIALECTS
from shared.reasons import REASONS
from shared.states import END_STATES
from shared.webhooks.kinds import Deactivation, DeliveryFault
from tests.support.scraping import Shown
from worker.decoding.formats import FORMATS, Box
from worker.measuring import AttemptResult, KillCause, Recovered
from worker.scanning.scanner import ScanResult
from worker.stages import STAGES

PAGE: Final = Path(__file__).parents[2] / "deploy/docs/metrics.md"
_ROW = re.compile(
    r"^\| `(attachments_\w+)` \| (counter|gauge|histogram) \|([^|]*)\| ([AWC ]+) \|", re.MULTILINE
)
_LABEL = re.compile(r"^\| `(\w+)` \| ((?:`attachments_\w+`(?:, )?)+) \| (.+) \|$", re.MULTILINE)

_OF_READING: Final = frozenset({200, 204, 302, 304, 400, 401, 403, 404, 406, 412, 429, 500, 503})
_OF_WRITING: Final = _OF_READING - {302} | {201, 408, 409, 413, 415, 422}
STATUSES: Final = _OF_READING | _OF_WRITING | {405}


def label_of(path: str) -> str:
    """Return the value of the label `route` for a route's path; a slash at the end is ignored."""
    path = path.rstrip("/")
    return UNTIMED.get(path) or re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", path)


ROUTES: Final = frozenset({label_of(each.path) for each in routes()})
WITH_BODIES: Final = frozenset(
    {label_of(each.path) for each in routes() if each.method in ("POST", "PATCH", "DELETE")}
)


def statuses_of(route: str) -> frozenset[int]:
    """Return the statuses with which a route may answer."""
    if route == "none":
        return STATUSES
    return _OF_WRITING if route in WITH_BODIES else _OF_READING


_OF_DECODERS: Final = (
    "attachments_decoder_kills_total",
    "attachments_decoder_peak_resident_bytes",
    "attachments_decoder_starts_total",
    "attachments_decoders_busy",
)
_VERBS: Final = get_args(StoreVerb)

VALUES: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    key: frozenset(map(str, values))
    for key, values in {
        ("attachments_attempts_total", "result"): get_args(AttemptResult),
        ("attachments_broker_queue_messages", "queue"): map(queue_name, range(QUEUES)),
        ("attachments_database_connections", "state"): get_args(ConnectionUse),
        ("attachments_decoder_cpu_seconds_total", "format"): {*FORMATS, "other"},
        ("attachments_decoder_kills_total", "cause"): get_args(KillCause),
        ("attachments_events_total", "dialect"): {
            *DIALECTS,
            *(f"sns/{name}" for name in DIALECTS),
            "sns",
            "unknown",
        },
        ("attachments_events_total", "effect"): {*get_args(Effect), "refused"},
        ("attachments_refused_requests_total", "reason"): get_args(RefusalKind),
        ("attachments_request_seconds", "route"): {*ROUTES, "none"},
        ("attachments_request_seconds", "method"): {*LABELS.values(), "other"},
        ("attachments_requests_total", "route"): {*ROUTES, "none"},
        ("attachments_requests_total", "status"): STATUSES,
        ("attachments_scans_total", "verdict"): get_args(ScanResult),
        ("attachments_stage_seconds", "stage"): STAGES,
        ("attachments_store_errors_total", "verb"): _VERBS,
        ("attachments_store_errors_total", "error"): get_args(StoreFault),
        ("attachments_store_request_seconds", "verb"): _VERBS,
        ("attachments_sweep_recovered_total", "cause"): get_args(Recovered),
        ("attachments_sweep_taken_total", "duty"): list(Duty),
        ("attachments_trace_spans_total", "result"): get_args(SpanResult),
        ("attachments_uploads_total", "state"): END_STATES,
        ("attachments_uploads_total", "reason"): {*REASONS, "", "other"},
        ("attachments_webhook_deliveries_total", "result"): {
            *get_args(DeliveryFault),
            "delivered",
        },
        ("attachments_webhooks_deactivated_total", "reason"): get_args(Deactivation),
        **{(name, "kind"): [each.value for each in Box] for name in _OF_DECODERS},
    }.items()
}
"""The values that each label may have, by the names of metric and label.

The values come from types and tables in the service's code.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table of metrics. `processes` holds A (API), W (worker) and C (consumer)."""

    kind: str
    labels: tuple[str, ...]
    processes: frozenset[str]


def documented() -> dict[str, Row]:
    """Read the table of metrics in the documentation, by metric name."""
    rows = _ROW.findall(PAGE.read_text("utf-8"))
    assert len(rows) == len({name for name, *_ in rows})
    return {
        name: Row(kind, tuple(re.findall(r"`(\w+)`", labels)), frozenset(processes.split()))
        for name, kind, labels, processes in rows
    }


def documented_values() -> dict[tuple[str, str], Collection[str]]:
    """Read the documented values of each label. `x…` means all values that begin with `x`."""
    found: dict[tuple[str, str], Collection[str]] = {}
    for label, metrics, values in _LABEL.findall(PAGE.read_text("utf-8")):
        for name in re.findall(r"`(\w+)`", metrics):
            assert (name, label) not in found
            found[name, label] = re.findall(r"`([^`]+)`", values)
    return found


def unknown_values(found: Shown) -> set[str]:
    """Return the samples with a label value that VALUES does not list."""
    return {
        f"{name} {dict(labels)}"
        for name, labels in found.values
        if name.startswith("attachments_") and not _is_known(metric_of(name), dict(labels))
    }


def _is_known(name: str, labels: Mapping[str, str]) -> bool:
    return all(
        value in VALUES.get((name, label), ()) for label, value in labels.items() if label != "le"
    ) and ("status" not in labels or int(labels["status"]) in statuses_of(labels["route"]))


def metric_of(sample: str) -> str:
    """Return the metric to which a sample belongs, such as `x` for the sample `x_bucket`."""
    return re.sub(r"_(bucket|sum|count)$", "", sample)
