"""Records of objects and versions, built from the answers of a store."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the store describes it. `size` is in bytes, `etag` has no quotes.

    `age_s` is the object's age in seconds by the store's own clock: the answer's `Date` minus
    `LastModified`, both in whole seconds. Compare only ages, not times, because the clocks of store
    and database may differ. `answered_at` is the time of the answer by this process's monotonic
    clock. Comparisons ignore `age_s` and `answered_at`, so two answers about one object are equal.
    """

    size: int
    etag: str
    version_id: str | None = None
    checksum_sha256: str | None = None
    age_s: float | None = field(default=None, compare=False)
    answered_at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version or a delete marker. `version_id` may be `null`; `age_s` is as in StoredObject."""

    key: str
    version_id: str
    is_marker: bool
    age_s: float | None = field(default=None, compare=False)


def listed_version(item: Any, kind: str, page: Any) -> StoredVersion:
    """Build a record from an entry of a page. `kind` is the name of the list that has the entry."""
    return StoredVersion(
        key=item["Key"],
        version_id=item.get("VersionId") or "null",
        is_marker=kind == "DeleteMarkers",
        age_s=age_of({**item, "ResponseMetadata": page["ResponseMetadata"]}),
    )


def version_of(version_id: str | None) -> str | None:
    """Return the version id of an answer, or None if it is missing, empty or `null`."""
    return None if version_id in (None, "", "null") else version_id


def age_of(answer: Any) -> float | None:
    """Return Date minus LastModified of an answer, in seconds; None if LastModified is missing.

    If the answer has no readable Date, the clock of this machine is used. The age is then wrong by
    the difference between the clocks of store and machine. `attachments doctor` measures that
    difference. Sources: RFC 9110, sections 6.6.1 (Date) and 8.8.2 (Last-Modified).
    """
    modified = answer.get("LastModified")
    if not isinstance(modified, datetime):
        return None
    return (date_of(answer) - modified).total_seconds()


def date_of(answer: Any) -> datetime:
    """Return the time in the Date of an answer, or this machine's time if there is no Date."""
    try:
        answered = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)
    return answered if answered.tzinfo else answered.replace(tzinfo=UTC)
