"""Request copies: the object at a client's `temp_url` is to be copied to an attachment's key.

The request is stored in the row before the copy begins, so a crash loses no copy. The API copies
small sources while the client waits. Workers make all other copies, and those that the API did not
finish. A process claims a copy before it makes it: see `shared.copy_claims`.

A copy belongs to the revision at which it was requested. An upload that is recorded later is newer
than the copy, so the copy is dropped. `copy_attempt` counts the claims of a copy, so the holder of
an outdated claim cannot change the row. While a row is `processing`, its copy cannot be claimed,
because `due_at` then holds the end of the worker's lease. The row becomes due again when the
processing ends: see `lifecycle.unless_copied`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import attachments, new_attachments, quotas
from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.new_attachments import NewAttachment
from shared.quotas import Quotas

# SQL for the next multiple of COPY_ATTEMPTS. No earlier claim has this `copy_attempt`.
UNTRIED = f"a.copy_attempt + {COPY_ATTEMPTS} - a.copy_attempt % {COPY_ATTEMPTS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The source of a requested copy. `temp_url` is the address that the client sent for it.

    `size` is in bytes and counts for the quota at once. If `size` is None, the copy counts only
    after the copied object is measured.
    """

    bucket: str
    key: str
    etag: str
    temp_url: str
    size: int | None = None


async def create(
    connection: Connection,
    new: Sequence[NewAttachment],
    wanted: Sequence[Wanted | None],
    *,
    grace_s: float,
    **options: Any,
) -> list[Attachment]:
    """Insert attachments, and request the copies to their keys, in one transaction.

    `wanted` has one entry for each of `new`; None means no copy. `options` go to
    `new_attachments.create`, whose errors are raised. `grace_s` is as in `ask`.
    """
    async with connection.transaction():
        rows = await new_attachments.create(connection, new, **options)
        copied = [(row.id, each) for row, each in zip(rows, wanted, strict=True) if each]
        found = await connection.fetch(
            f"""
            UPDATE attachments AS a
            SET copy_bucket = w.bucket, copy_key = w.key, copy_etag = w.etag,
                copy_revision = a.revision, copy_attempt = {UNTRIED}, temp_url = w.temp_url,
                due_at = now() + $6 * interval '1 second', copy_bytes = w.size
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $7::bigint[])
                 AS w (id, bucket, key, etag, temp_url, size)
            WHERE a.id = w.id AND a.id = ANY($1::bigint[])
            RETURNING {COLUMNS}
            """,
            [row_id for row_id, _ in copied],
            [each.bucket for _, each in copied],
            [each.key for _, each in copied],
            [each.etag for _, each in copied],
            [each.temp_url for _, each in copied],
            grace_s,
            [each.size for _, each in copied],
        )
    current = {row["id"]: Attachment.from_row(row) for row in found}
    return [current.get(row.id, row) for row in rows]


async def ask(
    connection: Connection, row: Attachment, wanted: Wanted, *, grace_s: float
) -> Attachment | None:
    """Request a copy to an attachment's key, set `temp_url`, and return the row.

    The sweep makes the copy after `grace_s` seconds if no other process has made it. If an upload
    waits for processing or is processed, the copy is made after that. An earlier request is
    replaced. Returns None if the attachment does not exist or is deleted.
    """
    found = await connection.fetchrow(
        f"""
        UPDATE attachments AS a
        SET copy_bucket = $3, copy_key = $4, copy_etag = $5, copy_revision = a.revision,
            copy_attempt = {UNTRIED}, temp_url = $6, copy_bytes = $8,
            due_at = CASE WHEN a.state IN ('uploaded', 'processing') THEN a.due_at
                          ELSE now() + $7 * interval '1 second' END
        WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL
        RETURNING {COLUMNS}
        """,
        row.id,
        row.organization_id,
        wanted.bucket,
        wanted.key,
        wanted.etag,
        wanted.temp_url,
        grace_s,
        wanted.size,
    )
    return Attachment.from_row(found) if found else None


async def change(
    connection: Connection,
    row: Attachment,
    changes: dict[str, Any],
    wanted: Wanted,
    *,
    grace_s: float,
    usual: Quotas | None = None,
) -> Attachment | None:
    """Set the columns that a client changed and `ask` for a copy, in one transaction.

    `usual` are the quotas of the settings; None if the organization has no quotas. Returns None and
    changes nothing if the attachment does not exist or is deleted. Raises QuotaExceeded if the copy
    would exceed the organization's quota of bytes.
    """
    async with connection.transaction(), quotas.growing(connection, row.organization_id, usual):
        await attachments.update(connection, row.id, row.organization_id, changes)
        return await ask(connection, row, wanted, grace_s=grace_s)


def wake_up(row: Attachment) -> WakeUp:
    """Return the wake-up with which a worker makes the copy that the row requests."""
    return WakeUp(attachment_id=row.id, organization_id=row.organization_id, revision=row.revision)


async def find(connection: Connection, attachment_id: int) -> Attachment | None:
    """Find an attachment whose copy is requested. Returns None if there is none."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a"
        " WHERE a.id = $1 AND a.copy_key IS NOT NULL AND a.deleted_at IS NULL",
        attachment_id,
    )
    return Attachment.from_row(row) if row else None


async def show(connection: Connection, row: Attachment) -> Attachment:
    """Return the present row of an attachment, or `row` itself if the attachment is deleted."""
    return await attachments.find(connection, row.id, row.organization_id) or row
