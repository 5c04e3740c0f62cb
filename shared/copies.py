"""Copies that a worker makes: what is to be copied to an attachment's key, in guarded statements.

A copy belongs to the revision at which it was asked for. An upload that is recorded later is newer
than the copy, which is then dropped. `copy_attempt` counts the claims of a copy and fences them.
"""

from shared.attachments import CHECK_MARGIN, COLUMNS, Attachment
from shared.database import Connection, affected
from shared.processing import WakeUp

ATTEMPTS = 1000
"""`copy_attempt` is raised to the next multiple of this number when a copy is asked for, so no
claim of an earlier copy fits."""

_NONE = "copy_bucket = NULL, copy_key = NULL, copy_etag = NULL, copy_revision = NULL"
_FENCE = """a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
            AND a.copy_revision = a.revision AND a.deleted_at IS NULL"""


async def ask(
    connection: Connection,
    row: Attachment,
    *,
    bucket: str,
    key: str,
    etag: str,
    temp_url: str,
    grace_s: float,
) -> tuple[Attachment, WakeUp] | None:
    """Record what is to be copied to an attachment's key, and its `temp_url`.

    The sweep takes it after `grace_s`, should the wake-up get lost. What was to be copied before
    is replaced. None if there is no such attachment any more, or an upload of it is processed.
    """
    found = await connection.fetchrow(
        f"""
        UPDATE attachments AS a
        SET copy_bucket = $3, copy_key = $4, copy_etag = $5, copy_revision = a.revision,
            copy_attempt = a.copy_attempt + {ATTEMPTS} - a.copy_attempt % {ATTEMPTS}, temp_url = $6,
            due_at = now() + $7 * interval '1 second'
        WHERE a.id = $1 AND a.organization_id = $2 AND a.deleted_at IS NULL
          -- while an upload is processed, due_at is the end of its worker's lease
          AND a.state NOT IN ('uploaded', 'processing')
        RETURNING {COLUMNS}
        """,
        row.id, row.organization_id, bucket, key, etag, temp_url, grace_s,
    )  # fmt: skip
    if found is None:
        return None
    asked = Attachment.from_row(found)
    return asked, WakeUp(
        attachment_id=asked.id, organization_id=asked.organization_id, revision=asked.revision
    )


async def claim(
    connection: Connection, attachment_id: int, copy_attempt: int | None, *, lease_s: float
) -> Attachment | None:
    """Claim a copy: `copy_attempt` as it was seen, or None for one that nobody has tried.

    None if there is nothing to copy, it is being tried, or a newer upload was recorded.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE attachments AS a
        SET copy_attempt = a.copy_attempt + 1, due_at = now() + $3 * interval '1 second'
        WHERE a.id = $1 AND a.copy_key IS NOT NULL AND a.copy_revision = a.revision
          AND a.deleted_at IS NULL AND a.state NOT IN ('uploaded', 'processing')
          AND CASE WHEN $2::bigint IS NULL THEN a.copy_attempt % {ATTEMPTS} = 0
                   ELSE a.copy_attempt = $2 END
        RETURNING {COLUMNS}
        """,
        attachment_id, copy_attempt, lease_s,
    )  # fmt: skip
    return Attachment.from_row(row) if row else None


async def renew(connection: Connection, row: Attachment, *, lease_s: float) -> bool:
    """Lengthen the lease of a copy; False if the claim is lost."""
    status = await connection.execute(
        f"UPDATE attachments AS a SET due_at = now() + $3 * interval '1 second' WHERE {_FENCE}",
        row.id, row.copy_attempt, lease_s,
    )  # fmt: skip
    return affected(status) == 1


async def put_off(connection: Connection, row: Attachment, *, delay_s: float) -> None:
    """Have a copy tried again after `delay_s`, unless the claim is lost."""
    await connection.execute(
        f"UPDATE attachments AS a SET due_at = now() + $3 * interval '1 second' WHERE {_FENCE}",
        row.id, row.copy_attempt, delay_s,
    )  # fmt: skip


async def finish(connection: Connection, row: Attachment) -> bool:
    """Forget a copy that has been made; False if the claim is lost."""
    status = await connection.execute(
        f"UPDATE attachments AS a SET {_NONE} WHERE {_FENCE}", row.id, row.copy_attempt
    )
    return affected(status) == 1


async def fail(connection: Connection, row: Attachment, *, reason: str) -> bool:
    """Give a copy up. What has no object is `failed`; an earlier object stays as it is."""
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET {_NONE},
            state = CASE WHEN a.state IN ('pending', 'expired') THEN 'failed' ELSE a.state END,
            reason = CASE WHEN a.state IN ('pending', 'expired') THEN $3 ELSE a.reason END,
            processed_at = CASE WHEN a.state IN ('pending', 'expired') THEN now()
                                ELSE a.processed_at END,
            due_at = CASE WHEN a.policy_expires_at > now()
                          THEN a.policy_expires_at + interval '{CHECK_MARGIN}' END
        WHERE {_FENCE}
        """,
        row.id, row.copy_attempt, reason,
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


async def drop(connection: Connection, attachment_id: int, copy_attempt: int) -> None:
    """Forget a copy that a newer upload has overtaken; the sweep looks at the row again after
    its lease."""
    await connection.execute(
        f"UPDATE attachments AS a SET {_NONE} WHERE a.id = $1 AND a.copy_attempt = $2"
        " AND a.copy_revision < a.revision",
        attachment_id, copy_attempt,
    )  # fmt: skip
