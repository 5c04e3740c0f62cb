"""The attachment: its record, and the statements about one that serve clients.

See `shared.lists` for lists, and `shared.lifecycle` for events, workers and the sweep.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any

import asyncpg

from shared import keys
from shared.database import Connection, affected
from shared.quotas import Quotas, translate
from shared.reasons import NO_OBJECT, ReasonCode
from shared.rows import FromRow, columns_of
from shared.states import State

ATTACHABLE_TYPES = (
    "invoice", "purchase_order", "bill", "email", "page", "expense", "comment", "task",
    "document_style", "document_type", "deal", "booking", "widget",
)  # fmt: skip
"""What an attachment may belong to (contract.md)."""

CHECK_MARGIN = "60 seconds"
"""How long after a policy's end an object that it let in is looked for the last time."""


LATE_UPLOAD_S = 3600
"""How long after its end an upload may still arrive that was begun under a policy: S3 looks at the
policy when a request begins. An expired attachment is looked at once more after that time, and a
deleted one is not purged before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment(FromRow):
    """One row. Sizes in bytes; `width` and `height` in pixels, upright.

    `age_s` is how long ago the row was made, by the database's clock, at the time when it was
    read; `read_at` is that time by this process's monotonic clock. Neither is part of what the
    row says, so two reads of an unchanged row are equal.

    `limit_size` and `limit_types` are what its client allows (see `shared.limits`). Of an object
    that has not come, `promised_bytes` are what its policy lets in at most; set under a quota.
    """

    NOT_COLUMNS = frozenset({"read_at"})

    id: int
    organization_id: int
    creator_id: int | None = None
    bucket: str
    name: str
    file_name: str
    thumbnail_name: str | None = None
    thumbnail_spoiled: bool = False
    attachable_type: str | None = None
    attachable_id: int | None = None
    attachment_type: str | None = None
    message_id: str | None = None
    external_id: str | None = None
    temp_url: str | None = None
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    checksum_sha256: str | None = None
    carries_more: bool = False
    state: State = "pending"
    reason: ReasonCode | None = None
    resized: bool = False
    revision: int = 0
    claimed_revision: int = 0
    attempt: int = 0
    due_at: datetime | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    copy_bucket: str | None = None
    copy_key: str | None = None
    copy_etag: str | None = None
    copy_revision: int | None = None
    copy_attempt: int = 0
    copy_bytes: int | None = None
    created_at: datetime
    policy_expires_at: datetime
    uploaded_at: datetime | None = None
    processed_at: datetime | None = None
    deleted_at: datetime | None = None
    limit_size: int | None = None
    limit_types: Sequence[str] | None = None
    promised_bytes: int | None = None
    age_s: float = field(default=0.0, compare=False)
    read_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def key(self) -> str:
        """The key of the original."""
        return f"{keys.PREFIX}{keys.partition(self.id)}/original/{self.file_name}"

    @property
    def thumbnail_key(self) -> str | None:
        """The key under which a thumbnail is or may be stored, of whatever revision."""
        if self.thumbnail_name is None:
            return None
        return f"{keys.PREFIX}{keys.partition(self.id)}/thumb/{self.thumbnail_name}"

    def max_bytes(self, max_size: int) -> int:
        """Give the size that its object may have; `max_size` is the service's own limit."""
        return max_size if self.limit_size is None else min(max_size, self.limit_size)

    def policy_bytes(self, max_size: int) -> int:
        """Give the size that its policy lets in: under a quota no more than was promised."""
        allowed = self.max_bytes(max_size)
        return allowed if self.promised_bytes is None else min(allowed, self.promised_bytes)

    @property
    def counted_bytes(self) -> int:
        """How many bytes it counts for a quota, as attachment_bytes() of migration 0011 has it."""
        copied = self.copy_bytes or 0
        if self.state == "expired" or (self.state == "failed" and self.reason in NO_OBJECT):
            return 0 if self.copy_key is None else copied
        known = (self.size, self.promised_bytes, self.limit_size)
        return max(next((size for size in known if size is not None), 0), copied)


_AGE = "extract(epoch FROM clock_timestamp() - a.created_at)::float8 AS age_s"
FIELDS = columns_of(Attachment)
COLUMNS = ", ".join(_AGE if name == "age_s" else f"a.{name}" for name in FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttachment:
    """What a client says of an attachment that it creates; checked already."""

    name: str
    attachable_type: str | None = None
    attachable_id: int | None = None
    attachment_type: str | None = None
    message_id: str | None = None
    external_id: str | None = None
    content_type: str | None = None
    size: int | None = None
    limit_size: int | None = None
    limit_types: Sequence[str] | None = None
    promised_bytes: int | None = None


GIVEN = tuple(each.name for each in fields(NewAttachment))


@cache
def _insert(count: int, *, held: bool) -> str:
    """Write the statement that inserts `count` rows; $1 to $5 are the same in all of them.

    If `held`, the quotas are checked with the first row; the last four values are for that.
    """
    width = 1 + len(GIVEN)
    rows = []
    for first in range(6, 6 + count * width, width):
        given = ", ".join(f"${place}" for place in range(first, first + width))
        rows.append(
            "($1, $2, $3, date_trunc('second', now()) + $4 * interval '1 second',"
            f" now() + $5 * interval '1 second', {given})"
        )
    if held:
        end = 6 + count * width
        more = ", ".join(f"${place}::bigint" for place in range(end, end + 4))
        room = f"(SELECT hold_quota($1, {count}, {more}))"
        rows[0] = rows[0].replace("$1", room, 1)
    return (
        "INSERT INTO attachments (organization_id, creator_id, bucket, policy_expires_at, due_at,"
        f" file_name, {', '.join(GIVEN)}) VALUES {', '.join(rows)}"
        " RETURNING id, created_at, policy_expires_at, due_at"
    )


async def create(
    connection: Connection,
    new: Sequence[NewAttachment],
    *,
    organization_id: int,
    creator_id: int | None,
    bucket: str,
    policy_ttl_s: int,
    first_check_s: float,
    quotas: Quotas | None = None,
) -> list[Attachment]:
    """Insert up to 100 attachments, all or none, in the order given; each is `pending`.

    `quotas` are those of the settings; the organization's own win over them. None checks nothing.
    Raises QuotaExceeded and NotCounted; then nothing has changed.
    """
    values: list[Any] = [organization_id, creator_id, bucket, float(policy_ttl_s), first_check_s]
    given = [{name: getattr(item, name) for name in GIVEN} for item in new]
    for item in given:
        item["file_name"] = keys.safe_file_name(item["name"])
        values += [item["file_name"], *(item[name] for name in GIVEN)]
    if quotas is not None:
        asked = sum(item.promised_bytes or 0 for item in new)
        values += [asked, quotas.attachments, quotas.bytes, quotas.uploads_per_day]
    try:
        rows = await connection.fetch(_insert(len(new), held=quotas is not None), *values)
    except asyncpg.PostgresError as error:
        if (meant := translate(error)) is not None:
            raise meant from None
        raise
    return [
        Attachment(
            organization_id=organization_id,
            creator_id=creator_id,
            bucket=bucket,
            **dict(row.items()),
            **item,
        )
        for row, item in zip(rows, given, strict=True)
    ]


async def find(
    connection: Connection, attachment_id: int, organization_id: int
) -> Attachment | None:
    """Find an attachment of that organization that is not deleted."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a"
        " WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL",
        attachment_id, organization_id,
    )  # fmt: skip
    return Attachment.from_row(row) if row else None


async def find_rows(connection: Connection, ids: Sequence[int]) -> dict[int, Attachment]:
    """Find up to a page of rows by their ids, whoever owns them, deleted or not."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id = ANY($1::bigint[])", ids
    )
    return {row["id"]: Attachment.from_row(row) for row in rows}


async def find_any(connection: Connection, attachment_id: int) -> Attachment | None:
    """Find an attachment whoever owns it, deleted or not: for operators, and for signed URLs."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id = $1", attachment_id
    )
    return Attachment.from_row(row) if row else None


CHANGEABLE = (
    "name", "attachable_type", "attachable_id", "attachment_type", "message_id", "external_id",
    "temp_url",
)  # fmt: skip
"""What a client may change (contract.md)."""


async def update(
    connection: Connection, attachment_id: int, organization_id: int, changes: dict[str, Any]
) -> Attachment | None:
    """Set the columns that a client changed; None if there is no such attachment any more."""
    assert changes.keys() <= set(CHANGEABLE)
    assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(changes, 3))
    row = await connection.fetchrow(
        f"UPDATE attachments AS a SET {assignments or 'name = a.name'}"
        " WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL"
        f" RETURNING {COLUMNS}",
        attachment_id, organization_id, *changes.values(),
    )  # fmt: skip
    return Attachment.from_row(row) if row else None


async def delete(
    connection: Connection, attachment_id: int, organization_id: int, *, retention_s: int
) -> bool:
    """Mark an attachment deleted; its objects are purged when nothing can write them any more.

    That is after the retention, the last upload that its policy may let in, the lease of a
    worker that has it now, and the end of a copy that the store may be making.
    False if there is none, or no longer.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET deleted_at = now(),
            due_at = greatest(now() + $3 * interval '1 second',
                              a.policy_expires_at + {LATE_UPLOAD_S} * interval '1 second',
                              CASE WHEN a.state = 'processing' THEN a.due_at END,
                              CASE WHEN a.copy_key IS NOT NULL
                                   THEN now() + {LATE_UPLOAD_S} * interval '1 second' END)
        WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL
        """,
        attachment_id, organization_id, float(retention_s),
    )  # fmt: skip
    return affected(status) == 1
