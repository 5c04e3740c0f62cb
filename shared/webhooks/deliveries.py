"""Deliveries of webhooks: list, find, retry and test them for clients; remove old ones.

A delivery is one event that is sent to one webhook, with all its attempts.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from shared.database import Connection, affected
from shared.rows import FromRow, columns_of
from shared.webhooks.kinds import (
    DELIVERY_STATES,
    KEPT_DAYS,
    MAX_KEPT,
    TEST,
    DeliveryEvent,
    DeliveryFault,
    DeliveryState,
)

RETRIED_AT_ONCE: Final = 5000
"""One call of `retry_since` changes at most this many deliveries."""

REMOVED_AT_ONCE: Final = 5000
"""One DELETE of the `prune_…` functions removes at most this many deliveries."""

LEAST_ROW_BYTES: Final = 100
"""Every row of `webhook_deliveries` takes more than this number of bytes on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow(FromRow):
    """One row of `webhook_deliveries`, without the JSON of the attachment."""

    #: The delivery's number.
    id: int
    #: The webhook to which the event is delivered.
    webhook_id: int
    #: The id of the event. It is the same for all webhooks and attempts.
    message_id: UUID
    #: The type of the event.
    event: DeliveryEvent
    #: The id of the attachment; None for a test event.
    attachment_id: int | None
    #: When the event happened.
    created_at: datetime
    #: pending, delivered or failed.
    state: DeliveryState
    #: The number of attempts that have begun.
    attempt: int
    #: When the next attempt is due, or when the lease of the running attempt ends. None if neither
    #: exists.
    due_at: datetime | None
    #: When the last attempt ended.
    attempted_at: datetime | None
    #: The HTTP status of the last answer; None if there was none.
    status: int | None
    #: Why the last attempt failed; None after a success.
    fault: DeliveryFault | None


_COLUMNS = ", ".join(f"d.{name}" for name in columns_of(DeliveryRow))

_AGAIN = "state = 'pending', attempt = 0, due_at = now()"


async def list_page(
    connection: Connection,
    webhook_id: int,
    *,
    state: DeliveryState | None,
    before: int,
    limit: int,
) -> list[DeliveryRow]:
    """List up to `limit` deliveries of a webhook with ids below `before`, newest first.

    The caller must have checked that the webhook belongs to the organization.
    """
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
        FROM unnest($4::text[]) AS wanted (state) CROSS JOIN LATERAL (
            SELECT * FROM webhook_deliveries AS d
            WHERE d.webhook_id = $1 AND d.state = wanted.state AND d.id < $2
            ORDER BY d.id DESC LIMIT $3
        ) AS d
        ORDER BY d.id DESC LIMIT $3
        """,
        webhook_id,
        before,
        limit,
        DELIVERY_STATES if state is None else (state,),
    )
    return [DeliveryRow.from_row(row) for row in rows]


async def find(
    connection: Connection, webhook_id: int, delivery_id: int, organization_id: int
) -> DeliveryRow | None:
    """Find a delivery of an organization's webhook. Returns None if it does not exist."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM webhook_deliveries AS d
        WHERE d.id = $1 AND d.webhook_id = $2 AND d.organization_id = $3
        """,
        delivery_id,
        webhook_id,
        organization_id,
    )
    return DeliveryRow.from_row(row) if row else None


async def retry(
    connection: Connection, webhook_id: int, delivery_id: int, organization_id: int
) -> DeliveryRow | None:
    """Make a delivery in any state due now, and begin its schedule of attempts again.

    Returns None if the delivery does not exist or its webhook is inactive. May be repeated; the
    receiver may then get the event again.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE webhook_deliveries AS d SET {_AGAIN}
        WHERE d.id = $1 AND d.webhook_id = $2 AND d.organization_id = $3
          AND EXISTS (SELECT FROM webhooks AS w WHERE w.id = $2 AND w.active
                                                  AND w.organization_id = $3)
        RETURNING {_COLUMNS}
        """,
        delivery_id,
        webhook_id,
        organization_id,
    )
    return DeliveryRow.from_row(row) if row else None


async def retry_since(
    connection: Connection, webhook_id: int, organization_id: int, since: datetime
) -> int:
    """Make up to RETRIED_AT_ONCE failed deliveries of a webhook due now.

    Only deliveries whose events happened at `since` or later are changed. Returns the number of
    changed deliveries. Call this again until the number is less than RETRIED_AT_ONCE. If the
    webhook is inactive, nothing changes.
    """
    status = await connection.execute(
        f"""
        UPDATE webhook_deliveries AS d SET {_AGAIN}
        WHERE d.id = ANY (ARRAY(
                  SELECT f.id FROM webhook_deliveries AS f
                  WHERE f.webhook_id = $1 AND f.state = 'failed' AND f.created_at >= $3
                  ORDER BY f.id DESC LIMIT {RETRIED_AT_ONCE}))
          AND d.state = 'failed'
          AND EXISTS (SELECT FROM webhooks AS w WHERE w.id = $1 AND w.active
                                                  AND w.organization_id = $2)
        """,
        webhook_id,
        organization_id,
        since,
    )
    return affected(status)


async def queue_test(
    connection: Connection, webhook_id: int, organization_id: int
) -> DeliveryRow | None:
    """Queue a test event for a webhook. Returns None if the webhook is missing or inactive.

    Do not repeat it after a success: that would queue another event.
    """
    row = await connection.fetchrow(
        f"""
        INSERT INTO webhook_deliveries AS d (webhook_id, organization_id, message_id, event)
        SELECT w.id, w.organization_id, $3, '{TEST}' FROM webhooks AS w
        WHERE w.id = $1 AND w.organization_id = $2 AND w.active
        RETURNING {_COLUMNS}
        """,
        webhook_id,
        organization_id,
        uuid4(),
    )
    return DeliveryRow.from_row(row) if row else None


async def prune_old(connection: Connection) -> int:
    """Remove up to REMOVED_AT_ONCE deliveries that are older than KEPT_DAYS.

    Returns the number of removed deliveries. Call it again until it returns 0. Ids rise with time,
    so the oldest rows are found by their ids. May be repeated.
    """
    status = await connection.execute(
        f"""
        DELETE FROM webhook_deliveries WHERE id = ANY (ARRAY(
            SELECT id FROM (
                SELECT id, created_at FROM webhook_deliveries ORDER BY id LIMIT {REMOVED_AT_ONCE}
            ) AS oldest
            WHERE created_at < now() - interval '{KEPT_DAYS} days'
        ))
        """
    )
    return affected(status)


async def prune_orphans(connection: Connection) -> int:
    """Remove up to REMOVED_AT_ONCE deliveries of one removed webhook. Return their number.

    The statement reads one index entry for each webhook that has deliveries. May be repeated.
    """
    status = await connection.execute(
        f"""
        WITH RECURSIVE walk AS (
            (SELECT webhook_id FROM webhook_deliveries ORDER BY webhook_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.webhook_id FROM webhook_deliveries AS d
                    WHERE d.webhook_id > walk.webhook_id ORDER BY d.webhook_id LIMIT 1)
            FROM walk WHERE walk.webhook_id IS NOT NULL
        )
        DELETE FROM webhook_deliveries WHERE id = ANY (ARRAY(
            SELECT d.id FROM webhook_deliveries AS d
            WHERE d.webhook_id = (
                SELECT walk.webhook_id FROM walk
                WHERE walk.webhook_id IS NOT NULL
                  AND NOT EXISTS (SELECT FROM webhooks AS w WHERE w.id = walk.webhook_id)
                LIMIT 1)
            LIMIT {REMOVED_AT_ONCE}
        ))
        """
    )
    return affected(status)


def shares(counts: dict[int, int], most: int = MAX_KEPT) -> dict[int, int]:
    """Return how many of its oldest deliveries each owner loses, so that `most` are left in total.

    An owner is an organization or a webhook; `counts` has the number of deliveries of each. Owners
    with few deliveries lose none. All other owners keep the same number.
    """
    left, waiting = most, sorted(counts.items(), key=lambda each: each[1])
    lost: dict[int, int] = {}
    for number, (owner, count) in enumerate(waiting):
        kept = min(count, left // (len(waiting) - number))
        left -= kept
        if kept < count:
            lost[owner] = count - kept
    return lost


async def prune_surplus(connection: Connection, *, most: int = MAX_KEPT) -> dict[int, int]:
    """Remove the oldest deliveries of the organizations that have the most deliveries.

    At most `most` deliveries are to be left in total. Removes up to REMOVED_AT_ONCE deliveries of
    each webhook in one call. Returns how many it removed, by webhook id. Call it again until it
    returns an empty dict. May be repeated.
    """
    # A small table is not counted. A large table is counted with an index whose first column is
    # webhook_id. `prune_orphans` removes the deliveries of removed webhooks.
    rows = await connection.fetch(
        f"""
        SELECT counted.webhook_id, w.organization_id, counted.count
        FROM (SELECT webhook_id, count(*) AS count FROM webhook_deliveries
              WHERE pg_relation_size('webhook_deliveries') > $1::bigint * {LEAST_ROW_BYTES}
              GROUP BY webhook_id) AS counted
        JOIN webhooks AS w ON w.id = counted.webhook_id
        """,
        most,
    )
    by_organization: dict[int, dict[int, int]] = {}
    for webhook_id, organization_id, count in rows:
        by_organization.setdefault(organization_id, {})[webhook_id] = count
    totals = {each: sum(counts.values()) for each, counts in by_organization.items()}
    removed = {}
    for organization_id, surplus in shares(totals, most).items():
        kept = totals[organization_id] - surplus
        for webhook_id, lost in shares(by_organization[organization_id], kept).items():
            status = await connection.execute(
                """
                DELETE FROM webhook_deliveries WHERE id = ANY (ARRAY(
                    SELECT d.id
                    FROM unnest($3::text[]) AS each (state) CROSS JOIN LATERAL (
                        SELECT d.id FROM webhook_deliveries AS d
                        WHERE d.webhook_id = $1 AND d.state = each.state ORDER BY d.id LIMIT $2
                    ) AS d
                    ORDER BY d.id LIMIT $2
                ))
                """,
                webhook_id,
                min(lost, REMOVED_AT_ONCE),
                DELIVERY_STATES,
            )
            removed[webhook_id] = affected(status)
    return {each: count for each, count in removed.items() if count}
