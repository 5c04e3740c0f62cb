"""Copies of what a `temp_url` names to an attachment's key: what is asked for, in the row.

What is to be copied is part of the row before the copy begins, so no crash loses a copy. The API
copies small sources while the client waits; workers copy all others and those that the API left.
Both claim a copy first: see `shared.copy_claims`.

A copy belongs to the revision at which it was asked for. An upload that is recorded later is newer
than the copy, which is then dropped. `copy_attempt` counts the claims of a copy and fences them. A
row in `processing` is not claimed: its `due_at` is the lease of the worker that processes it. It
is due again as soon as that ends, see `lifecycle.unless_copied`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import attachments, quotas
from shared.attachments import COLUMNS, Attachment, NewAttachment
from shared.database import Connection
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.quotas import Quotas

# The next multiple of COPY_ATTEMPTS: no claim that was made before fits.
UNTRIED = f"a.copy_attempt + {COPY_ATTEMPTS} - a.copy_attempt % {COPY_ATTEMPTS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be copied, and the address that named it, which is shown as `temp_url`.

    `size` is in bytes; it counts for the quota from now on, None counts when it is measured.
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
    """Insert attachments and what is to be copied to their keys, in one transaction.

    `options` and errors are those of `attachments.create`; `grace_s` is as in `ask`.
    """
    async with connection.transaction():
        rows = await attachments.create(connection, new, **options)
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
    """Record what is to be copied to an attachment's key, and its `temp_url`.

    The sweep takes it after `grace_s`, should nobody else; of an upload that is being processed,
    when that ends. What was to be copied before is replaced. None if there is no such attachment
    any more.
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
        row.id, row.organization_id, wanted.bucket, wanted.key, wanted.etag, wanted.temp_url,
        grace_s, wanted.size,
    )  # fmt: skip
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
    """Change what a client changed and `ask` for a copy, in one transaction.

    None if there is no such attachment any more; then nothing has changed. `usual` are the quotas
    of the settings, None if nothing limits the organization. Raises QuotaExceeded if the copy
    would get it beyond its quota of bytes.
    """
    async with connection.transaction(), quotas.growing(connection, row.organization_id, usual):
        await attachments.update(connection, row.id, row.organization_id, changes)
        return await ask(connection, row, wanted, grace_s=grace_s)


def wake_up(row: Attachment) -> WakeUp:
    """Give the message that has a worker copy what an attachment's row names."""
    return WakeUp(attachment_id=row.id, organization_id=row.organization_id, revision=row.revision)


async def find(connection: Connection, attachment_id: int) -> Attachment | None:
    """Find an attachment to whose key something is to be copied."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM attachments AS a"
        " WHERE a.id = $1 AND a.copy_key IS NOT NULL AND a.deleted_at IS NULL",
        attachment_id,
    )
    return Attachment.from_row(row) if row else None


async def show(connection: Connection, row: Attachment) -> Attachment:
    """Give an attachment as it is now, or as it was if it is deleted."""
    return await attachments.find(connection, row.id, row.organization_id) or row
