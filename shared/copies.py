"""Copies of what a `temp_url` names to an attachment's key, in guarded statements.

What is to be copied is part of the row before the copy begins, so no crash loses a copy. The API
copies small sources while the client waits; workers copy all others and whatever the API left.

A copy belongs to the revision at which it was asked for. An upload that is recorded later is newer
than the copy, which is then dropped. `copy_attempt` counts the claims of a copy and fences them. A
row in `processing` is not claimed: its `due_at` is the lease of the worker that processes it. It
is due again as soon as that ends, see `lifecycle.unless_copied`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import attachments, lifecycle, quotas
from shared.attachments import CHECK_MARGIN, COLUMNS, Attachment, NewAttachment
from shared.database import Connection, affected
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.notifications import UploadEvent
from shared.quotas import Quotas
from shared.reasons import CopyCode

_NONE = "copy_bucket = NULL, copy_key = NULL, copy_etag = NULL, copy_revision = NULL"
_NOTHING = f"{_NONE}, copy_bytes = NULL"
"""The same where nothing was copied. What was counts by copy_bytes until it is measured."""

_AS_SEEN = """a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
            AND a.copy_revision = a.revision AND a.deleted_at IS NULL"""
# The next multiple of COPY_ATTEMPTS: no claim that was made before fits.
_UNTRIED = f"a.copy_attempt + {COPY_ATTEMPTS} - a.copy_attempt % {COPY_ATTEMPTS}"


_IN = "now() + $3 * interval '1 second'"


def _held(place: int) -> str:
    """Write the condition that a claim of a copy still holds; $1 and $2 are id and attempt.

    `place` is the number of the parameter that has the organization's id: after rows were lost, the
    same id may have a copy for another one.
    """
    return f"{_AS_SEEN} AND a.organization_id = ${place}"


def _unless_processed(due_at: str) -> str:
    return f"CASE a.state WHEN 'processing' THEN a.due_at ELSE {due_at} END"


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
                copy_revision = a.revision, copy_attempt = {_UNTRIED}, temp_url = w.temp_url,
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
            copy_attempt = {_UNTRIED}, temp_url = $6, copy_bytes = $8,
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


async def claim(
    connection: Connection, attachment_id: int, copy_attempt: int | None, *, lease_s: float
) -> Attachment | None:
    """Claim a copy: `copy_attempt` as it was seen, or None for one that nobody has tried.

    None if there is nothing to copy, it is being tried, the attachment is being processed, or a
    newer upload was recorded.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE attachments AS a
        SET copy_attempt = a.copy_attempt + 1, due_at = now() + $3 * interval '1 second'
        WHERE a.id = $1 AND a.copy_key IS NOT NULL AND a.copy_revision = a.revision
          AND a.deleted_at IS NULL AND a.state <> 'processing'
          AND CASE WHEN $2::bigint IS NULL THEN a.copy_attempt % {COPY_ATTEMPTS} = 0
                   ELSE a.copy_attempt = $2 END
        RETURNING {COLUMNS}
        """,
        attachment_id, copy_attempt, lease_s,
    )  # fmt: skip
    return Attachment.from_row(row) if row else None


async def renew(connection: Connection, row: Attachment, *, lease_s: float) -> bool:
    """Lengthen the lease of a copy; False if the claim is lost."""
    status = await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_held(4)}",
        row.id, row.copy_attempt, lease_s, row.organization_id,
    )  # fmt: skip
    return affected(status) == 1


async def put_off(connection: Connection, row: Attachment, *, delay_s: float) -> None:
    """Have a copy tried again after `delay_s`, unless the claim is lost."""
    await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_held(4)}",
        row.id, row.copy_attempt, delay_s, row.organization_id,
    )  # fmt: skip


async def release(connection: Connection, row: Attachment, *, delay_s: float) -> bool:
    """Give a claim back as if it had not been made; it is due after `delay_s`.

    False if the claim is lost.
    """
    status = await connection.execute(
        f"UPDATE attachments AS a SET copy_attempt = {_UNTRIED}, due_at = {_unless_processed(_IN)}"
        f" WHERE {_held(4)}",
        row.id, row.copy_attempt, delay_s, row.organization_id,
    )  # fmt: skip
    return affected(status) == 1


async def wait(
    connection: Connection, attachment_id: int, copy_attempt: int, *, delay_s: float
) -> None:
    """Have the sweep come again after `delay_s`, if nobody has claimed the copy since it was seen.

    `copy_attempt` is the one that was seen.
    """
    await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_AS_SEEN}",
        attachment_id, copy_attempt, delay_s,
    )  # fmt: skip


async def finish(connection: Connection, row: Attachment, etag: str) -> bool:
    """Forget a copy that has been made; False if the claim is lost.

    The store's event of the copy may be recorded already, which raises the revision. It is told
    from a newer upload by its `etag`, which is the copy's.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a SET {_NONE}
        WHERE a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
          AND (a.copy_revision = a.revision OR a.etag = $3) AND a.deleted_at IS NULL
          AND a.organization_id = $4
        """,
        row.id, row.copy_attempt, etag, row.organization_id,
    )  # fmt: skip
    return affected(status) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """An attachment after its copy, and what is to be processed now."""

    attachment: Attachment
    woken: list[WakeUp]


async def record(
    connection: Connection, row: Attachment, etag: str, *, publish_grace_s: float
) -> Copied | None:
    """Record a copy that has been made as an event of it would, in one transaction.

    None if the claim is lost; nothing has changed then.
    """
    async with connection.transaction():
        if not await finish(connection, row, etag):
            return None
        event = UploadEvent(bucket=row.bucket, key=row.key, etag=etag)
        recorded = await lifecycle.record_uploads(
            connection, [event], publish_grace_s=publish_grace_s
        )
        return Copied(attachment=await show(connection, row), woken=recorded.woken)


async def fail(connection: Connection, row: Attachment, *, reason: CopyCode) -> bool:
    """Give a copy up. What has no object is `failed`; an earlier object stays as it is.

    False if the claim is lost.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET {_NOTHING},
            state = CASE WHEN a.state IN ('pending', 'expired') THEN 'failed' ELSE a.state END,
            reason = CASE WHEN a.state IN ('pending', 'expired') THEN $3 ELSE a.reason END,
            processed_at = CASE WHEN a.state IN ('pending', 'expired') THEN now()
                                ELSE a.processed_at END,
            due_at = CASE WHEN a.state = 'processing' THEN a.due_at
                          WHEN a.state = 'uploaded' THEN now()
                          WHEN a.policy_expires_at > now()
                          THEN a.policy_expires_at + interval '{CHECK_MARGIN}' END
        WHERE {_held(4)}
        """,
        row.id, row.copy_attempt, reason, row.organization_id,
    )  # fmt: skip
    return affected(status) == 1


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


async def drop(connection: Connection, attachment_id: int, copy_attempt: int) -> None:
    """Forget a copy that a newer upload has overtaken; the sweep looks at the row again after
    its lease."""
    await connection.execute(
        f"UPDATE attachments AS a SET {_NOTHING} WHERE a.id = $1 AND a.copy_attempt = $2"
        " AND a.copy_revision < a.revision",
        attachment_id, copy_attempt,
    )  # fmt: skip
