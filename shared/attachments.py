"""The record of an attachment, and the SQL statements on single rows for requests of clients.

`shared.new_attachments` inserts rows, `shared.lists` reads lists, and `shared.lifecycle` has the
statements for events, workers and the sweep.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared import keys
from shared.database import Connection, affected
from shared.reasons import NO_OBJECT, ReasonCode
from shared.rows import FromRow, columns_of
from shared.states import State
from shared.verdicts import Verdict

CHECK_MARGIN = "60 seconds"
"""The time from a policy's end to the check whether the object was uploaded or replaced. An expired
attachment is checked once more, later: see LATE_UPLOAD_S."""


LATE_UPLOAD_S = 3600
"""The seconds after a policy's end during which an upload may still arrive. S3 checks the policy
when a request begins, so an upload that began in time may end late. An expired attachment is
checked once more after this time. A deleted attachment is purged only after this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment(FromRow):
    """One row of `attachments`.

    `age_s` and `read_at` depend on when the row was read. Comparisons ignore these two fields, so
    two reads of an unchanged row are equal.
    """

    NOT_COLUMNS = frozenset({"read_at"})

    #: The attachment's number, a part of the keys of its objects.
    id: int
    #: The organization that owns the attachment.
    organization_id: int
    #: The person whose token created the attachment; None if the token names nobody.
    creator_id: int | None = None
    #: The bucket that holds the attachment's objects.
    bucket: str
    #: The file's name as the client sent it. It is only displayed.
    name: str
    #: The name in the original's key: made from the first value of `name`. It never changes.
    file_name: str
    #: The name in the thumbnail's key. It is set before the thumbnail is stored.
    thumbnail_name: str | None = None
    #: The thumbnails in all styles, as JSON; see `shared.styles`.
    styles: str | None = None
    #: True if a worker that lost its claim may have overwritten or removed a thumbnail.
    thumbnail_spoiled: bool = False
    #: The kind of object that the attachment belongs to, see `shared.attachable_types`.
    attachable_type: str | None = None
    #: The id of the object, in the client's application, that the attachment belongs to.
    attachable_id: int | None = None
    #: `inline` for an attachment that is shown within a text, else None.
    attachment_type: str | None = None
    #: A text that the client sets; the service gives it no meaning.
    message_id: str | None = None
    #: A text that the client sets; the service gives it no meaning.
    external_id: str | None = None
    #: The source address that a client sent. If None, the API shows the file's own address.
    temp_url: str | None = None
    #: The MIME type: as the client declared it, then as measured.
    content_type: str | None = None
    #: The original's size in bytes: as the client declared it, then as measured.
    size: int | None = None
    #: An image's width in pixels, after its orientation is applied.
    width: int | None = None
    #: An image's height in pixels, after its orientation is applied.
    height: int | None = None
    #: The number of a PDF's pages; None for other files.
    pages: int | None = None
    #: The SHA-256 of the original's bytes, in lower-case hexadecimal.
    checksum_sha256: str | None = None
    #: The length of a film in seconds.
    duration: float | None = None
    #: A placeholder of the thumbnail in some 25 bytes, as Base64 (the format ThumbHash).
    thumbhash: str | None = None
    #: True if bytes of another kind follow the image, or if that could not be checked.
    carries_more: bool = False
    #: The state. `shared.lifecycle` has the changes of state.
    state: State = "pending"
    #: Why the upload was rejected or an attempt failed. For a ready file: what could not be done.
    reason: ReasonCode | None = None
    #: The scanner's verdict about the object; None if the object was not meant to be scanned.
    scan_verdict: Verdict | None = None
    #: The name of the malware signature that the scanner reported.
    scan_signature: str | None = None
    #: True if the thumbnail of the current upload is stored.
    resized: bool = False
    #: How many changes of the object were recorded. Each upload raises the number.
    revision: int = 0
    #: The revision that was claimed last; 0 before the first claim.
    claimed_revision: int = 0
    #: How often `claimed_revision` was claimed. `lifecycle.postpone` raises this number too.
    attempt: int = 0
    #: When the sweep must look at the row; None if the sweep need not look at it.
    due_at: datetime | None = None
    #: The object's etag without quotes; None until an object was seen.
    etag: str | None = None
    #: The object's version in a versioned bucket.
    version_id: str | None = None
    #: The sequencer of the last recorded event that had a sequencer. It orders a key's events.
    sequencer: str | None = None
    #: The source bucket of a copy that is still to be made.
    copy_bucket: str | None = None
    #: The source key of a copy that is still to be made; None if no copy is requested.
    copy_key: str | None = None
    #: The etag that the source of the copy must have.
    copy_etag: str | None = None
    #: The revision at which the copy was requested. A later upload cancels the copy.
    copy_revision: int | None = None
    #: Counts the claims of copies, so each claim has its own number; see `shared.copies`.
    copy_attempt: int = 0
    #: The bytes that a requested copy adds to the used quota until its object is measured.
    copy_bytes: int | None = None
    #: When the row was created.
    created_at: datetime
    #: When the upload policy ends, in whole seconds.
    policy_expires_at: datetime
    #: When the current upload was recorded. Its whole seconds are part of the file's address.
    uploaded_at: datetime | None = None
    #: When processing last ended.
    processed_at: datetime | None = None
    #: When the attachment was deleted. The row stays.
    deleted_at: datetime | None = None
    #: The largest size in bytes that the creating client allows; see `shared.limits`.
    limit_size: int | None = None
    #: The types that the creating client allows, each `type/subtype` or `type/*`.
    limit_types: Sequence[str] | None = None
    #: The largest upload in bytes that the policy allows because of a quota; None without a quota.
    promised_bytes: int | None = None
    #: The trace context of the current upload (W3C Trace Context); None if traces are off.
    traceparent: str | None = None
    #: The row's age in seconds when it was read, by the database's clock.
    age_s: float = field(default=0.0, compare=False)
    #: When the row was read, in seconds of this process's monotonic clock.
    read_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def key(self) -> str:
        """The key of the original."""
        return f"{keys.PREFIX}{keys.partition(self.id)}/original/{self.file_name}"

    @property
    def thumbnail_key(self) -> str | None:
        """The key of the thumbnail, current or outdated; None if no thumbnail was ever made."""
        if self.thumbnail_name is None:
            return None
        return f"{keys.PREFIX}{keys.partition(self.id)}/thumb/{self.thumbnail_name}"

    def max_bytes(self, max_size: int) -> int:
        """Return the largest size, in bytes, that the attachment's object may have.

        `max_size` is the service's own limit, in bytes.
        """
        return max_size if self.limit_size is None else min(max_size, self.limit_size)

    def policy_bytes(self, max_size: int) -> int:
        """Return the largest size, in bytes, that the attachment's policy allows.

        If a quota limits the policy, this size is at most `promised_bytes`. `max_size` is the
        service's own limit, in bytes.
        """
        allowed = self.max_bytes(max_size)
        return allowed if self.promised_bytes is None else min(allowed, self.promised_bytes)

    @property
    def counted_bytes(self) -> int:
        """The bytes that count for a quota, as attachment_bytes() of migration 0011 counts them."""
        copied = self.copy_bytes or 0
        if self.state == "expired" or (self.state == "failed" and self.reason in NO_OBJECT):
            return 0 if self.copy_key is None else copied
        known = (self.size, self.promised_bytes, self.limit_size)
        return max(next((size for size in known if size is not None), 0), copied)


_AGE = "extract(epoch FROM clock_timestamp() - a.created_at)::float8 AS age_s"
FIELDS = columns_of(Attachment)
COLUMNS = ", ".join(_AGE if name == "age_s" else f"a.{name}" for name in FIELDS)


async def find(
    connection: Connection, attachment_id: int, organization_id: int, *, lock: bool = False
) -> Attachment | None:
    """Find an attachment of an organization. Returns None if it does not exist or is deleted.

    With `lock`, no other transaction can change the row until the caller's transaction ends.
    """
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a"
        " WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL"
        f"{' FOR NO KEY UPDATE' if lock else ''}",
        attachment_id,
        organization_id,
    )
    return Attachment.from_row(row) if row else None


async def find_rows(connection: Connection, ids: Sequence[int]) -> dict[int, Attachment]:
    """Find up to one page of rows by their ids, of any organization, also deleted rows."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id = ANY($1::bigint[])", ids
    )
    return {row["id"]: Attachment.from_row(row) for row in rows}


async def find_any(connection: Connection, attachment_id: int) -> Attachment | None:
    """Find an attachment of any organization, also a deleted one: for operators and file links."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id = $1", attachment_id
    )
    return Attachment.from_row(row) if row else None


CHANGEABLE = (
    "name",
    "attachable_type",
    "attachable_id",
    "attachment_type",
    "message_id",
    "external_id",
    "temp_url",
)
"""The columns that a client may change (contract.md)."""


async def update(
    connection: Connection, attachment_id: int, organization_id: int, changes: dict[str, Any]
) -> Attachment | None:
    """Set the columns that a client changed and return the row.

    Returns None if the attachment does not exist or is deleted. `changes` may be empty, and has
    only columns of CHANGEABLE. May be repeated.
    """
    assert changes.keys() <= set(CHANGEABLE)
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, 3))
    row = await connection.fetchrow(
        f"UPDATE attachments AS a SET {assignments or 'name = a.name'}"
        " WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL"
        f" RETURNING {COLUMNS}",
        attachment_id,
        organization_id,
        *changes.values(),
    )
    return Attachment.from_row(row) if row else None


async def delete(
    connection: Connection, attachment_id: int, organization_id: int, *, retention_s: int
) -> bool:
    """Mark an attachment as deleted, and set the time at which the sweep purges its objects.

    The purge must come after the last write to the attachment's keys. So it waits until four times
    have passed: the retention (`retention_s`), the last upload that the policy allows, the lease of
    a worker that holds the attachment, and LATE_UPLOAD_S if the store may still make a copy.
    Returns False if the attachment does not exist or is already deleted. May be repeated.
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
        attachment_id,
        organization_id,
        float(retention_s),
    )
    return affected(status) == 1
