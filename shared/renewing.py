"""Give attachments a new upload policy, to repeat an interrupted upload or to replace a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared import quotas
from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.lifecycle import ACTIVE
from shared.quotas import QuotaExceeded, Quotas
from shared.rows import FromRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(FromRow):
    """A row with its new policy, and the time of the renewal by the database's clock."""

    attachment: Attachment
    signed_at: datetime


async def renew_policies(
    connection: Connection,
    ids: Sequence[int],
    organization_id: int,
    *,
    bucket: str,
    policy_ttl_s: int,
    first_check_s: float,
) -> list[Renewed]:
    """Let the policies of attachments end `policy_ttl_s` seconds from now. Return the rows by id.

    An `expired` row becomes `pending`. Every other state stays until a new object is recorded. The
    sweep asks the store after `first_check_s` seconds. But if the row's upload or copy waits for a
    worker or is claimed, the sweep's time (`due_at`) does not change. Rows that are missing,
    deleted, of another organization or in another bucket are left out. May be repeated.
    """
    rows = await connection.fetch(
        f"""
        UPDATE attachments AS a
        -- an earlier policy may live longer if ATTACHMENTS_POLICY_TTL was lowered
        SET policy_expires_at = greatest(a.policy_expires_at,
                date_trunc('second', now()) + $4 * interval '1 second'),
            state = CASE a.state WHEN 'expired' THEN 'pending' ELSE a.state END,
            reason = CASE a.state WHEN 'expired' THEN NULL ELSE a.reason END,
            due_at = CASE WHEN {ACTIVE} OR a.copy_key IS NOT NULL THEN a.due_at
                          ELSE least(a.due_at, now() + $5 * interval '1 second') END
        WHERE a.id = ANY($1::bigint[]) AND a.organization_id = $2 AND a.bucket = $3
          AND a.deleted_at IS NULL
        RETURNING {COLUMNS}, now() AS signed_at
        """,
        ids,
        organization_id,
        bucket,
        float(policy_ttl_s),
        first_check_s,
    )
    renewed = [Renewed.from_row(row, attachment=Attachment.from_row(row)) for row in rows]
    return sorted(renewed, key=lambda each: each.attachment.id)


async def renew_counted(
    connection: Connection,
    attachment_id: int,
    organization_id: int,
    *,
    bucket: str,
    policy_ttl_s: int,
    first_check_s: float,
    max_size: int,
    usual: Quotas | None,
) -> Renewed | None:
    """Renew one policy as `renew_policies` does, and count it as an upload of today.

    `usual` are the quotas of the settings; None if the organization has no quotas. Other requests
    that check the organization's quotas wait until the transaction ends. `max_size` is the
    service's limit in bytes. Returns None if the row cannot be renewed. Raises QuotaExceeded and
    changes nothing if a quota would be exceeded. If the call is repeated, the upload is counted
    again.
    """
    async with connection.transaction():
        if usual is not None:
            await connection.execute(
                "SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE", organization_id
            )
        row = await connection.fetchrow(
            f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id = $1 AND a.organization_id = $2"
            " AND a.deleted_at IS NULL FOR NO KEY UPDATE",
            attachment_id,
            organization_id,
        )
        if row is None:
            return None
        if usual is not None:
            await _hold_room(connection, Attachment.from_row(row), usual, max_size)
        renewed = await renew_policies(
            connection,
            [attachment_id],
            organization_id,
            bucket=bucket,
            policy_ttl_s=policy_ttl_s,
            first_check_s=first_check_s,
        )
        if not renewed:
            return None
        await connection.execute("SELECT add_usage($1, 0, 0, 1)", organization_id)
        return renewed[0]


async def _hold_room(connection: Connection, row: Attachment, usual: Quotas, max_size: int) -> None:
    """Raise QuotaExceeded if one more upload of a row's file would exceed a quota.

    If there is a quota of bytes and the row has no `promised_bytes`, this sets `promised_bytes` to
    the largest size that the row's policy allows.
    """
    found = await quotas.find_usage(connection, row.organization_id, usual)
    if found is None:
        return
    usage, limits = found[0], found[0].quotas
    limit, used = limits.uploads_per_day, usage.uploads_today
    if limit is not None and used is not None and used >= limit:
        raise QuotaExceeded("uploads_per_day", limit, used)
    if limits.bytes is None or usage.bytes is None:
        return
    largest = row.policy_bytes(max_size)
    if row.promised_bytes is None and row.etag is None and row.size is not None:
        largest = min(largest, row.size)
    if usage.bytes - row.counted_bytes + largest > limits.bytes and largest > row.counted_bytes:
        raise QuotaExceeded("bytes", limits.bytes, usage.bytes)
    await connection.execute(
        "UPDATE attachments SET promised_bytes = $2 WHERE id = $1 AND promised_bytes IS NULL",
        row.id,
        largest,
    )
