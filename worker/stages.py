"""The seconds that one attempt at an upload spends in each stage, for metrics, logs and traces.

`begin` opens the record of an attempt. `measured` adds to the record of the attempt that runs it.
Outside of an attempt, `measured` records nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from shared import traces
from shared.attachments import Attachment
from shared.stored_objects import StoredObject

Stage = Literal[
    "queued",
    "scan_wait",
    "scan",
    "read",
    "room_wait",
    "sniff",
    "decoder_wait",
    "decode",
    "write",
    "commit",
]
"""`queued`: from the record of the upload to its first claim, by the database's clock. `scan_wait`:
waiting for a place at the scanner. `scan`: from the first byte that is sent to the scanner to its
verdict. `read`: reading the original from the store, without the ranges that identify the type.
`room_wait`: waiting for room on disk for a large file (`worker.budget`). `sniff`: identifying the
type, including the reads of further ranges. `decoder_wait`: waiting for a free decoder. `decode`:
the work of the decoder. `write`: writing the thumbnail to the store. `commit`: writing the outcome
to the row."""

STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True)
class Interval:
    """A period that an attempt spent in one stage. `began` is in seconds of `time.monotonic`."""

    stage: Stage
    began: float
    seconds: float


class Stages:
    """The intervals of one attempt, in the order in which they ended. They never overlap.

    `modified_at` is the object's LastModified, in seconds of `time.monotonic`. `size` is in bytes,
    `content_type` is the identified type, and `cpu_s` is the CPU time of decoders.
    """

    __slots__ = ("began", "content_type", "cpu_s", "intervals", "modified_at", "size")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.intervals: list[Interval] = []
        self.modified_at: float | None = None
        self.size: int | None = None
        self.content_type: str | None = None
        self.cpu_s = 0.0

    def add(self, stage: Stage, seconds: float) -> None:
        """Add an interval that ends now."""
        self.intervals.append(Interval(stage, time.monotonic() - seconds, seconds))

    def seconds(self) -> dict[Stage, float]:
        """Return the seconds by stage, without the stages that the attempt did not reach."""
        sums: dict[Stage, float] = {}
        for each in self.intervals:
            sums[each.stage] = sums.get(each.stage, 0.0) + each.seconds
        return sums


def rounded(seconds: dict[Stage, float]) -> dict[Stage, float]:
    """Round seconds by stage to a tenth of a millisecond, for log lines."""
    return {stage: round(value, 4) for stage, value in seconds.items()}


_current: ContextVar[Stages | None] = ContextVar("stages", default=None)


def current() -> Stages | None:
    """Return the record of the attempt whose task runs this code; None outside of an attempt."""
    return _current.get()


def note_object(found: StoredObject) -> None:
    """Record the size and age of the object that the attempt reads."""
    stages = _current.get()
    if stages is None:
        return
    stages.size = found.size
    if found.age_s is not None:
        stages.modified_at = time.monotonic() - found.age_s


def note_type(content_type: str) -> None:
    """Record the identified content type of the object."""
    stages = _current.get()
    if stages is not None:
        stages.content_type = content_type


def note_cpu(seconds: float) -> None:
    """Add CPU time that a decoder used for this attempt."""
    stages = _current.get()
    if stages is not None:
        stages.cpu_s += seconds


@contextmanager
def begin(row: Attachment) -> Iterator[Stages]:
    """Open the record of an attempt for the `with` block, and add how long the upload has
    waited."""
    stages = Stages()
    # later attempts wait on purpose, so their wait is not recorded
    if row.attempt == 1 and row.uploaded_at is not None:
        recorded_s = (row.uploaded_at - row.created_at).total_seconds()
        queued_s = max(0.0, row.age_s - recorded_s)
        stages.add("queued", queued_s)
        if traces.recorder is not None:
            traces.recorder.past("queued", queued_s)
    token = _current.set(stages)
    try:
        yield stages
    finally:
        _current.reset(token)


@contextmanager
def measured(stage: Stage) -> Iterator[None]:
    """Record how long the block takes, even if the block raises. Stages must not be nested."""
    stages = _current.get()
    if stages is None:
        yield
        return
    began = time.monotonic()
    try:
        if traces.recorder is None:
            yield
        else:
            with traces.recorder.inside(stage):
                yield
    finally:
        stages.intervals.append(Interval(stage, began, time.monotonic() - began))
