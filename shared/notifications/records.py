"""Parse the list `Records` as S3 and stores like S3 write it.

Source: Amazon S3 User Guide, "Event message structure". All versions 2.x are read in the same way.
Some stores put the prefix `s3:` before the names of events; it is removed.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent
from shared.notifications.s3_like import S3_LIKE, S3Like

VERSITYGW = "webhook-global"
"""The configuration id by which versitygw is recognized, because its source is `aws:s3` too."""

SOURCES: Final = ("aws:s3", VERSITYGW, *(rules.source for rules in S3_LIKE.values()))

LOOKED_AT = 100

CREATED = "ObjectCreated:"
REMOVED = ("ObjectRemoved:", "LifecycleExpiration:", "ObjectLifecycle:Expiration:")
"""The beginnings of the names of removals. The last two are for removals by lifecycle rules; of
these, the second is Ceph's."""

_KINDS = (CREATED, *REMOVED)

_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,64}")


def source_of(document: Any) -> str | None:
    """Return the source of a list of records: that known source which most records name.

    If the first hundred records name no known source, all records are counted. The result is one of
    SOURCES, or else an unknown source, or empty if no record names a source. The result is None if
    the document has no list of records.
    """
    records = document.get("Records") if isinstance(document, dict) else None
    if not isinstance(records, list):
        return None
    if len(records) == 1:  # the usual case
        return _source(records[0])
    counts = _count_sources(records[:LOOKED_AT])
    if counts.keys().isdisjoint(SOURCES):
        counts = _count_sources(records)
    known = [source for source in counts if source in SOURCES]
    return max(known or counts, key=counts.__getitem__, default="")


def _count_sources(records: list[Any]) -> Counter[str]:
    return Counter([source for record in records if (source := _source(record))])


def _source(record: Any) -> str:
    s3 = record.get("s3") if isinstance(record, dict) else None
    if isinstance(s3, dict) and s3.get("configurationId") == VERSITYGW:
        return VERSITYGW
    source = record.get("eventSource") if isinstance(record, dict) else None
    return source if isinstance(source, str) else ""


@dataclass(frozen=True, slots=True)
class Records:
    """The dialect of a store whose records follow the given rules."""

    rules: S3Like

    def recognises(self, document: Any) -> bool:
        """Return whether the document's records are of this store."""
        return source_of(document) == self.rules.source

    def parse(self, document: Any) -> "Iterator[UploadEvent | UnreadableEvent | None]":
        """Yield one item for each record. A key outside the list of records is ignored."""
        yield from parse_records(
            document["Records"],
            source=self.rules.source,
            decode=self.rules.decode,
            ordered=self.rules.ordered,
        )


def parse_records(
    records: list[Any], *, source: str, decode: Callable[[str], str], ordered: bool
) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Yield one item for each record, so that a bad record does not affect the others.

    `decode` decodes a key. Sequencers are kept only if `ordered`. A record of another source is a
    fault, because its key would be decoded in the wrong way.
    """
    for record in records:
        try:
            if _source(record) not in ("", source):
                raise UnreadableEvent("a record has another source than the others")
            yield _event(record, decode, ordered)
        except UnreadableEvent as fault:
            yield fault


def _event(record: Any, decode: Callable[[str], str], ordered: bool) -> UploadEvent | None:
    name = text(member(record, "eventName"), "eventName").removeprefix("s3:")
    if not name.startswith(_KINDS):
        return None
    s3 = member(record, "s3")
    item = member(s3, "object")
    return UploadEvent(
        bucket=text(member(member(s3, "bucket"), "name"), "bucket"),
        key=decode(text(member(item, "key"), "key")),
        etag=etag(optional(item, "eTag") or optional(item, "etag")),
        version_id=optional(item, "versionId") or None,
        sequencer=sequencer(optional(item, "sequencer")) if ordered else None,
        removed=name.startswith(REMOVED),
    )


def member(value: Any, name: str) -> Any:
    """Return a member of a JSON object. Raises UnreadableEvent if the member is missing."""
    if not isinstance(value, dict) or name not in value:
        raise UnreadableEvent(f"there is no {name}")
    return value[name]


def text(value: Any, name: str) -> str:
    """Return a value that is a non-empty string. Raises UnreadableEvent for other values."""
    if not isinstance(value, str) or not value:
        raise UnreadableEvent(f"{name} is not a string")
    return value


def optional(item: Any, name: str) -> str | None:
    """Return a member of a JSON object if it is a string, else None."""
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, str) else None


def etag(value: str | None) -> str | None:
    """Remove the quotes that some stores leave around an etag. Returns None for an empty etag."""
    return (value or "").strip('"') or None


def sequencer(value: str | None) -> str | None:
    """Return a sequencer in upper case, or None if it is not 1 to 64 hexadecimal digits."""
    return value.upper() if value is not None and _SEQUENCER.fullmatch(value) else None
