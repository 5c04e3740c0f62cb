"""What a store says of an object or a version of one, read from its answers."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the store describes it: `size` of the whole in bytes, `etag` without quotes.

    `age_s` is how many seconds ago the object was stored, by the store's own clock: the `Date` of
    the answer less `LastModified`, both of whole seconds. It is the store's age to compare with,
    never a time: the clocks of store and database may differ. `answered_at` is when the answer
    came, by this process's monotonic clock. Neither counts as part of what the object is, so two
    answers about one object are equal.
    """

    size: int
    etag: str
    version_id: str | None = None
    checksum_sha256: str | None = None
    age_s: float | None = field(default=None, compare=False)
    answered_at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version or a delete marker; `version_id` may be `null`, `age_s` is as in StoredObject."""

    key: str
    version_id: str
    is_marker: bool
    age_s: float | None = field(default=None, compare=False)


def listed_version(item: Any, kind: str, page: Any) -> StoredVersion:
    """Read an entry of a page of versions; `kind` is the name of its list in the answer."""
    return StoredVersion(
        key=item["Key"],
        version_id=item.get("VersionId") or "null",
        is_marker=kind == "DeleteMarkers",
        age_s=age_of({**item, "ResponseMetadata": page["ResponseMetadata"]}),
    )


def version_of(version_id: str | None) -> str | None:
    """Give the id of a version as an answer has it; None in a bucket that was never versioned."""
    return None if version_id in (None, "", "null") else version_id


def age_of(answer: Any) -> float | None:
    """Subtract LastModified from the Date of the same answer; None without LastModified.

    Where the answer has no Date that can be read, this machine's clock takes its place: the age
    is then wrong by as much as the clocks of store and machine differ, which `attachments doctor`
    measures. Sources: RFC 9110, sections 6.6.1 (Date) and 8.8.2 (Last-Modified).
    """
    modified = answer.get("LastModified")
    if not isinstance(modified, datetime):
        return None
    return (date_of(answer) - modified).total_seconds()


def date_of(answer: Any) -> datetime:
    """Give the time at which the store answered, or now where it does not say."""
    try:
        answered = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)
    return answered if answered.tzinfo else answered.replace(tzinfo=UTC)
