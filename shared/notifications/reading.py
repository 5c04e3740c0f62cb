"""Parse messages of any dialect into events about originals, faults, and a count of other
records."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.errors import UnreadableEvent
from shared.notifications import (
    aws,
    eventbridge,
    seaweedfs,
    sns,
    versitygw,
)
from shared.notifications.event import UploadEvent
from shared.notifications.records import Records
from shared.notifications.s3_like import S3_LIKE


class Dialect(Protocol):
    """The functions that the module of a dialect has."""

    def recognises(self, document: Any, /) -> bool:
        """Return whether the document is of this dialect."""

    def parse(self, document: Any, /) -> Iterator[UploadEvent | UnreadableEvent | None]:
        """Yield one item for each record of the document."""


DIALECTS: dict[str, Dialect] = {
    "aws": aws,
    "eventbridge": eventbridge,
    **{name: Records(rules) for name, rules in S3_LIKE.items()},
    "seaweedfs": seaweedfs,
    "versitygw": versitygw,
}


@dataclass(slots=True, kw_only=True)
class Reading:
    """The content of a message: events of originals in the bucket, faults, and a count of the rest.

    There is at most one event for each key: the newest by sequencer, or else the last one. A
    removal is kept only if there is no creation, or if its sequencer is greater. `dialect` is None
    if no dialect was recognised, and `sns/…` for a message in SNS's envelope. The field's type is
    str and not a Literal, so that another store needs only one line in `s3_like`.
    """

    dialect: str | None
    events: list[UploadEvent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ignored: int = 0


def read(document: Any, *, bucket: str) -> Reading:
    """Read a decoded message with any content. Never raises."""
    if not sns.recognises(document):
        return _read(document, bucket)
    if document["Type"] in (sns.CONFIRMATION, sns.FAREWELL):  # have no events
        return Reading(dialect="sns", ignored=1)
    try:
        inner = sns.unwrap(document)
    except UnreadableEvent as fault:
        return Reading(dialect="sns", faults=[str(fault)])
    reading = _read(inner, bucket)
    reading.dialect = f"sns/{reading.dialect}" if reading.dialect else "sns"
    return reading


def _read(document: Any, bucket: str) -> Reading:
    dialect = next((name for name, module in DIALECTS.items() if module.recognises(document)), None)
    reading = Reading(dialect=dialect)
    if dialect is None:
        reading.faults.append("no dialect knows this message")
        return reading
    events = []
    for item in DIALECTS[dialect].parse(document):
        if isinstance(item, UnreadableEvent):
            reading.faults.append(str(item))
        elif item is None or item.attachment_id is None or item.bucket != bucket:
            reading.ignored += 1
        elif not (_plain(item.etag) and _plain(item.version_id)):
            reading.faults.append("etag or version is not plain text")
        else:
            events.append(item)
    reading.events = newest(events)
    return reading


def newest(events: Iterable[UploadEvent]) -> list[UploadEvent]:
    """Return one event for each key, sorted by key, so that all writers lock rows in one order."""
    kept: dict[str, UploadEvent] = {}
    for event in events:
        known = kept.get(event.key)
        if known is None or _supersedes(event, known):
            kept[event.key] = event
    return sorted(kept.values(), key=lambda event: event.key)


def _supersedes(event: UploadEvent, known: UploadEvent) -> bool:
    if event.sequencer is None or known.sequencer is None:
        return not event.removed
    width = max(len(event.sequencer), len(known.sequencer))
    return event.sequencer.ljust(width, "0") > known.sequencer.ljust(width, "0")


def _plain(text: str | None) -> bool:
    # S3's etags and versions are hexadecimal or URL-safe Base64. PostgreSQL can store every text
    # that passes this check.
    return text is None or (len(text) <= 1024 and text.isascii() and text.isprintable())
