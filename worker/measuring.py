"""The metrics of a worker: its uploads, attempts, decoders and sweep.

`deploy/docs/metrics.md` lists all metrics. The result of each call of `labels` is cached, because
`labels` costs more than counting.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

from shared import traces
from shared.attachments import Attachment
from shared.due import Due, Duty
from shared.reasons import REASONS, ReasonCode
from shared.states import State
from worker.decoding.formats import FORMATS, Box
from worker.stages import STAGES, Stages, begin

STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
UPLOAD_BUCKETS = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 3600)

UPLOADS = Counter(
    "attachments_uploads_total", "Uploads by the state that ended them", ["state", "reason"]
)

STAGE_SECONDS = Histogram(
    "attachments_stage_seconds",
    "Time of an attempt by stage",
    ["stage"],
    buckets=STAGE_BUCKETS,
)

UPLOAD_SECONDS = Histogram(
    "attachments_upload_seconds",
    "Time from the object's LastModified to its end state, by the store's clock",
    buckets=UPLOAD_BUCKETS,
)

ATTEMPTS = Counter("attachments_attempts_total", "Attempts by how they ended", ["result"])

IN_FLIGHT = Gauge("attachments_uploads_in_flight", "Attempts at uploads that are being made")

LEASES_LOST = Counter(
    "attachments_leases_lost_total", "Claims that another worker took over before they ended"
)

WAKE_UPS_WAITING = Gauge(
    "attachments_wake_ups_waiting", "Wake-ups that wait in a worker for a slot"
)

DECODERS_BUSY = Gauge("attachments_decoders_busy", "Decoders at work", ["kind"])

DECODER_STARTS = Counter("attachments_decoder_starts_total", "Decoders started", ["kind"])

DECODER_KILLS = Counter(
    "attachments_decoder_kills_total", "Decoders that were killed, or died", ["kind", "cause"]
)

DECODER_CPU_SECONDS = Counter(
    "attachments_decoder_cpu_seconds_total", "CPU time of decoders", ["format"]
)

DECODER_PEAK_BYTES = Gauge(
    "attachments_decoder_peak_resident_bytes",
    "The most resident memory that one decoder of this process ever had",
    ["kind"],
)

SWEEP_TAKEN = Counter("attachments_sweep_taken_total", "Due rows that the sweep took", ["duty"])

SWEEP_RECOVERED = Counter(
    "attachments_sweep_recovered_total", "Uploads that only the sweep found", ["cause"]
)

SWEEP_RAN = Gauge(
    "attachments_sweep_last_run_timestamp_seconds", "When the sweep last reached the database"
)

AttemptResult = Literal["ended", "retried", "given_back", "lost"]
"""How an attempt ended. `ended`: the upload has its end state. `retried`: there will be another
attempt. `given_back`: the attempt was stopped and does not count. `lost`: another worker claimed
the upload."""

KillCause = Literal["cpu_time", "wall_clock", "memory", "died", "idle", "cancelled"]
"""Why a decoder ended. `cpu_time`, `memory`: the file needed more than the limit. `wall_clock`: the
job reached its timeout, but used little CPU time. `died`: the decoder ended by itself. `idle`: the
decoder did something while it had no job. `cancelled`: the attempt was stopped."""

Recovered = Literal["no_event", "no_wake_up", "dead_worker"]
"""The fault because of which an upload had to wait for the sweep. `no_event`: the store had an
object, but no event about it came. `no_wake_up`: the wake-up did not arrive in time. `dead_worker`:
the lease of an earlier claim ended."""


class Measured:
    """The measurements of one attempt: its stages, and its result."""

    __slots__ = ("result", "stages")

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.result: AttemptResult = "given_back"

    def end(self, state: State, reason: ReasonCode | None) -> None:
        """Record that the attempt wrote this end state, and the total time of the upload."""
        self.result = "ended"
        count_upload(state, reason)
        if self.stages.modified_at is not None:
            UPLOAD_SECONDS.observe(time.monotonic() - self.stages.modified_at)


@contextmanager
def measured_attempt(row: Attachment) -> Iterator[Measured]:
    """Measure an attempt at a claimed upload, however the attempt ends."""
    IN_FLIGHT.inc()
    with begin(row) as stages:
        attempt = Measured(stages)
        try:
            yield attempt
        finally:
            IN_FLIGHT.dec()
            _attempts(attempt.result).inc()
            traces.note({"attachments.attempt_result": attempt.result})
            for stage, seconds in stages.seconds().items():
                _stage(stage).observe(seconds)
            if stages.cpu_s:
                _cpu(format_of(stages.content_type)).inc(stages.cpu_s)


def count_upload(state: State, reason: ReasonCode | None) -> None:
    """Count an end state with its reason. An unknown reason is counted as `other`."""
    known = "" if reason is None else reason if reason in REASONS else "other"
    _upload(state, known).inc()


def count_kill(kind: Box, cause: KillCause, peak_bytes: int) -> None:
    """Count a decoder that was killed or died, and its highest resident memory."""
    _kills(kind.value, cause).inc()
    note_peak(kind, peak_bytes)


def note_peak(kind: Box, peak_bytes: int) -> None:
    """Record the highest resident memory of a decoder, in bytes."""
    if peak_bytes > _peaks.get(kind, 0):
        _peaks[kind] = peak_bytes
        DECODER_PEAK_BYTES.labels(kind.value).set(peak_bytes)


def count_due(due: Due) -> None:
    """Count a due row that the sweep took, and the fault that made it due.

    A fault is a lost wake-up, a dead worker, or an upload whose attempts are used up. A row may
    also be due without a fault.
    """
    _taken(due.duty.value).inc()
    if due.duty is Duty.PROCESS and due.attachment.attempt == 1 and due.was == "uploaded":
        SWEEP_RECOVERED.labels("no_wake_up").inc()
    elif due.duty is Duty.PROCESS and due.was == "processing":
        SWEEP_RECOVERED.labels("dead_worker").inc()
    elif due.duty is Duty.GIVEN_UP:
        count_upload("failed", due.attachment.reason)


def format_of(content_type: str | None) -> str:
    """Return the metric label of a content type; `other` if it is None or has no decoder."""
    return content_type if content_type in FORMATS else "other"


_peaks: dict[Box, int] = {}
_kills = cache(DECODER_KILLS.labels)
_taken = cache(SWEEP_TAKEN.labels)
_upload = cache(UPLOADS.labels)
_attempts = cache(ATTEMPTS.labels)
_stage = cache(STAGE_SECONDS.labels)
_cpu = cache(DECODER_CPU_SECONDS.labels)


def prepare() -> None:
    """Create the series of all known labels, so that a counter shows 0 before its first event."""
    for result in get_args(AttemptResult):
        _attempts(result)
    for stage in STAGES:
        _stage(stage)
    for cause in get_args(Recovered):
        SWEEP_RECOVERED.labels(cause)
    for kind in Box:
        for cause in get_args(KillCause):
            _kills(kind.value, cause)
    for duty in Duty:
        _taken(duty.value)
