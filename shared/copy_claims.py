"""SQL statements that claim a copy, renew or release the claim, and record the copy's result.

A statement changes the row only if the claim was not lost.
"""

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
"""SQL that clears a request whose copy was not made. If the copy was made, _NONE is used instead:
it keeps copy_bytes, which counts for the quota until the object is measured."""

_AS_SEEN = """a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
            AND a.copy_revision = a.revision AND a.deleted_at IS NULL"""

_IN = "now() + $3 * interval '1 second'"


def _held(number: int) -> str:
    """Return the SQL condition that a claim of a copy is still valid.

    The SQL parameters $1 and $2 are the attachment's id and the attempt. `number` is the number of
    the parameter with the organization's id. The organization is compared too: after a loss of
    rows, another organization may have a copy with the same attachment id.
    """
    return f"{_AS_SEEN} AND a.organization_id = ${number}"


def _unless_processed(due_at: str) -> str:
    return f"CASE a.state WHEN 'processing' THEN a.due_at ELSE {due_at} END"


async def claim(
    connection: Connection, attachment_id: int, copy_attempt: int | None, *, lease_s: float
) -> Attachment | None:
    """Claim a copy for `lease_s` seconds.

    `copy_attempt` is the value that was read from the row, or None for a copy that no process has
    tried. Returns None if no copy is requested, if it is claimed already, if the attachment is
    `processing`, or if a newer upload was recorded.
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
        attachment_id,
        copy_attempt,
        lease_s,
    )
    return Attachment.from_row(row) if row else None


async def renew(connection: Connection, row: Attachment, *, lease_s: float) -> bool:
    """Extend a copy's lease to `lease_s` seconds from now. Returns False if the claim was lost."""
    status = await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_held(4)}",
        row.id,
        row.copy_attempt,
        lease_s,
        row.organization_id,
    )
    return affected(status) == 1


async def postpone(connection: Connection, row: Attachment, *, delay_s: float) -> None:
    """Make a copy due again after `delay_s` seconds. Does nothing if the claim was lost."""
    await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_held(4)}",
        row.id,
        row.copy_attempt,
        delay_s,
        row.organization_id,
    )


async def release(connection: Connection, row: Attachment, *, delay_s: float) -> bool:
    """Release a claim without counting the attempt. The copy is due after `delay_s` seconds.

    Returns False if the claim was lost.
    """
    status = await connection.execute(
        f"UPDATE attachments AS a SET copy_attempt = {UNTRIED}, due_at = {_unless_processed(_IN)}"
        f" WHERE {_held(4)}",
        row.id,
        row.copy_attempt,
        delay_s,
        row.organization_id,
    )
    return affected(status) == 1


async def wait(
    connection: Connection, attachment_id: int, copy_attempt: int, *, delay_s: float
) -> None:
    """Make an unclaimed copy due after `delay_s` seconds. Does nothing if it was claimed meanwhile.

    `copy_attempt` is the value that was read from the row.
    """
    await connection.execute(
        f"UPDATE attachments AS a SET due_at = {_unless_processed(_IN)} WHERE {_AS_SEEN}",
        attachment_id,
        copy_attempt,
        delay_s,
    )


async def finish(connection: Connection, row: Attachment, etag: str) -> bool:
    """Clear the request of a copy that has been made. Returns False if the claim was lost.

    The store's event of this copy may be recorded already, so the row's revision may be higher. The
    copy's `etag` distinguishes this event from that of a newer upload.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a SET {_NONE}
        WHERE a.id = $1 AND a.copy_attempt = $2 AND a.copy_key IS NOT NULL
          AND (a.copy_revision = a.revision OR a.etag = $3) AND a.deleted_at IS NULL
          AND a.organization_id = $4
        """,
        row.id,
        row.copy_attempt,
        etag,
        row.organization_id,
    )
    return affected(status) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """An attachment after its copy, and the wake-ups to publish."""

    attachment: Attachment
    woken: list[WakeUp]


async def record(
    connection: Connection, row: Attachment, etag: str, *, publish_grace_s: float
) -> Copied | None:
    """Record, in one transaction, that a copy has been made, as if the store had sent an event.

    `etag` is the copy's. If no wake-up starts the processing, the sweep does so after
    `publish_grace_s` seconds. Returns None and changes nothing if the claim was lost.
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
    """Give up a copy. An attachment without an object becomes `failed`, others keep their state.

    Returns False if the claim was lost.
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
        row.id,
        row.copy_attempt,
        reason,
        row.organization_id,
    )
    return affected(status) == 1


async def drop(connection: Connection, attachment_id: int, copy_attempt: int) -> None:
    """Clear the request of a copy if a newer upload was recorded.

    `due_at` does not change, so the sweep looks at the row again when the lease ends.
    """
    await connection.execute(
        f"UPDATE attachments AS a SET {_NOTHING} WHERE a.id = $1 AND a.copy_attempt = $2"
        " AND a.copy_revision < a.revision",
        attachment_id,
        copy_attempt,
    )
