"""Claims of copies, in guarded statements: who copies, until when, and what came of it."""

from dataclasses import dataclass

from shared import lifecycle
from shared.attachments import CHECK_MARGIN, COLUMNS, Attachment
from shared.copies import UNTRIED, show
from shared.database import Connection, affected
from shared.lifecycle import COPY_ATTEMPTS, WakeUp
from shared.notifications import UploadEvent
from shared.reasons import CopyCode

_NONE = "copy_bucket = NULL, copy_key = NULL, copy_etag = NULL, copy_revision = NULL"

_NOTHING = f"{_NONE}, copy_bytes = NULL"
"""The same where nothing was copied. What was counts by copy_bytes until it is measured."""

_AS_SEEN = """a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
            AND a.copy_revision = a.revision AND a.deleted_at IS NULL"""

_IN = "now() + $3 * interval '1 second'"


def _held(place: int) -> str:
    """Write the condition that a claim of a copy still holds; $1 and $2 are id and attempt.

    `place` is the number of the parameter that has the organization's id: after rows were lost, the
    same id may have a copy for another one.
    """
    return f"{_AS_SEEN} AND a.organization_id = ${place}"


def _unless_processed(due_at: str) -> str:
    return f"CASE a.state WHEN 'processing' THEN a.due_at ELSE {due_at} END"


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
        f"UPDATE attachments AS a SET copy_attempt = {UNTRIED}, due_at = {_unless_processed(_IN)}"
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


async def drop(connection: Connection, attachment_id: int, copy_attempt: int) -> None:
    """Forget a copy that a newer upload has overtaken; the sweep looks at the row again after
    its lease."""
    await connection.execute(
        f"UPDATE attachments AS a SET {_NOTHING} WHERE a.id = $1 AND a.copy_attempt = $2"
        " AND a.copy_revision < a.revision",
        attachment_id, copy_attempt,
    )  # fmt: skip
