"""SQL statements of couriers, which send deliveries: take due deliveries, and record attempts.

Each row of `webhook_deliveries` is an entry of the queue: `due_at` is when the next attempt is due,
or when the lease of the running attempt ends. A courier records a result only if the row still has
the number of its attempt. So a courier that lost its lease changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.rows import FromRow
from shared.webhooks.kinds import (
    FAILING_DAYS,
    MAX_PAUSE_S,
    OWN_FAULTS,
    Deactivation,
    DeliveryEvent,
    DeliveryFault,
)

LEASE_S = 40
"""Seconds for which a courier holds a delivery. An attempt takes at most 15 s. The other seconds
are for recording the result, and for delays in a busy event loop."""

WINDOW = 250
"""If fewer deliveries are due than this, the statement of `take` ranks all of them. Otherwise it
visits one webhook after another."""

WALK = 1000
"""One call of `take` visits at most this many webhooks. The next call continues after them."""


COUNT_EVERY_S = 60
"""In this number of seconds, at most one failure of a webhook counts for its deactivation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(FromRow):
    """One attempt at a delivery, with all that is needed to send it.

    `secret` and `secret_previous` are encrypted. `attachment` is the row as it was when the
    delivery was queued; None for a test event.
    """

    id: int
    webhook_id: int
    organization_id: int
    message_id: UUID
    event: DeliveryEvent
    attempt: int
    created_at: datetime
    target_url: str
    secret: bytes
    secret_previous: bytes | None
    attachment: Attachment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many deliveries of a webhook a courier is sending, and how many `more` it may take."""

    in_flight: int
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The deliveries that were taken. `count` also includes those that became `failed`."""

    deliveries: list[Delivery]
    count: int
    walked_to: int


async def take(
    connection: Connection,
    *,
    limit: int,
    rooms: Mapping[int, Room],
    usual_room: int,
    after: int = 0,
) -> Taken:
    """Take up to `limit` due deliveries for LEASE_S seconds, so that each webhook gets its turn.

    The webhook with the fewest deliveries in flight comes first. `rooms` has the limits of some
    webhooks, by id; `usual_room` is the limit of each other webhook. Deliveries of webhooks that
    are inactive or removed become `failed`. If at least WINDOW deliveries are due, the webhooks are
    visited in the order of their ids, from the first id after `after`; the lowest id follows the
    highest.
    """
    rows = await connection.fetch(
        f"""
        WITH RECURSIVE oldest AS MATERIALIZED (
            SELECT d.id, d.webhook_id, d.due_at FROM webhook_deliveries AS d
            WHERE d.due_at <= now() ORDER BY d.due_at LIMIT {WINDOW}
        ), walk AS (
            -- One look-up for each webhook, for its earliest delivery. Runs only with a backlog.
            SELECT $2::bigint AS webhook_id, NULL::timestamptz AS due_at, false AS around, 0 AS step
            WHERE (SELECT count(*) FROM oldest) = {WINDOW}
            UNION ALL
            SELECT next.webhook_id, next.due_at, next.around, walk.step + 1
            FROM walk CROSS JOIN LATERAL (
                (SELECT d.webhook_id, d.due_at, walk.around FROM webhook_deliveries AS d
                 WHERE d.due_at IS NOT NULL AND d.webhook_id > walk.webhook_id
                 ORDER BY d.webhook_id, d.due_at LIMIT 1)
                UNION ALL  -- after the last webhook continue with the first, once
                (SELECT d.webhook_id, d.due_at, true FROM webhook_deliveries AS d
                 WHERE d.due_at IS NOT NULL AND NOT walk.around
                 ORDER BY d.webhook_id, d.due_at LIMIT 1)
                LIMIT 1
            ) AS next
            WHERE walk.step < {WALK} AND NOT (next.around AND next.webhook_id > $2)
        ), known AS (
            SELECT id, webhook_id, due_at FROM oldest
            UNION
            SELECT d.id, d.webhook_id, d.due_at
            FROM walk CROSS JOIN LATERAL (
                SELECT d.id, d.webhook_id, d.due_at FROM webhook_deliveries AS d
                WHERE d.due_at IS NOT NULL AND d.webhook_id >= walk.webhook_id
                ORDER BY d.webhook_id, d.due_at
                LIMIT least($1, 1 + {WALK} / (SELECT max(step) FROM walk))
            ) AS d
            WHERE walk.due_at <= now() AND d.webhook_id = walk.webhook_id AND d.due_at <= now()
        ), ranked AS (
            SELECT known.id, known.due_at, known.webhook_id,
                   row_number() OVER (PARTITION BY known.webhook_id
                                      ORDER BY known.due_at, known.id) AS turn
            FROM known
        ), next AS (
            SELECT ranked.id
            FROM ranked
            LEFT JOIN unnest($3::bigint[], $4::integer[], $5::integer[])
                 AS room (webhook_id, in_flight, more) ON room.webhook_id = ranked.webhook_id
            WHERE ranked.turn <= coalesce(room.more, $6)
            ORDER BY ranked.turn + coalesce(room.in_flight, 0), ranked.due_at
        ), locked AS (
            -- The row is read again here, because it may have changed since it was ranked.
            SELECT d.id FROM next CROSS JOIN LATERAL (
                SELECT d.id FROM webhook_deliveries AS d
                WHERE d.id = next.id AND (d.due_at <= now()) IS TRUE
                FOR UPDATE SKIP LOCKED
            ) AS d
            LIMIT $1
        ), taken AS (
            UPDATE webhook_deliveries AS d
            SET state = CASE WHEN w.id IS NULL THEN 'failed' ELSE d.state END,
                fault = CASE WHEN w.id IS NULL THEN 'webhook_inactive' ELSE d.fault END,
                attempt = d.attempt + (w.id IS NOT NULL)::integer,
                due_at = CASE WHEN w.id IS NOT NULL THEN now() + {LEASE_S} * interval '1 second' END
            FROM locked JOIN webhook_deliveries AS same ON same.id = locked.id
            LEFT JOIN webhooks AS w ON w.id = same.webhook_id AND w.active
                                   AND w.organization_id = same.organization_id
            WHERE d.id = locked.id
            RETURNING d.id, d.message_id, d.event, d.attempt, d.created_at, d.attachment,
                      w.id AS webhook_id, w.organization_id, w.target_url, w.secret,
                      CASE WHEN w.previous_ends_at > now() THEN w.secret_previous
                           END AS secret_previous
        )
        SELECT {COLUMNS}, taken.id AS delivery_id, taken.attempt AS delivery_attempt,
               taken.created_at AS happened_at, taken.organization_id AS webhook_organization_id,
               taken.webhook_id, taken.message_id AS event_id, taken.event, taken.target_url,
               taken.secret, taken.secret_previous,
               (SELECT webhook_id FROM walk ORDER BY step DESC LIMIT 1) AS walked_to
        FROM taken LEFT JOIN LATERAL jsonb_populate_record(NULL::attachments, taken.attachment)
             AS a ON true
        ORDER BY taken.id
        """,
        limit,
        after,
        list(rooms),
        [room.in_flight for room in rooms.values()],
        [room.more for room in rooms.values()],
        usual_room,
    )
    walked_to = rows[0]["walked_to"] if rows else None
    return Taken(
        deliveries=[_delivery(row) for row in rows if row["webhook_id"] is not None],
        count=len(rows),
        walked_to=after if walked_to is None else walked_to,
    )


def _delivery(row: asyncpg.Record) -> Delivery:
    """Build a Delivery from a row that has the columns of the attachment too.

    A column of the delivery is renamed in the row if the attachment has a column of that name.
    """
    return Delivery.from_row(
        row,
        id=row["delivery_id"],
        organization_id=row["webhook_organization_id"],
        message_id=row["event_id"],
        attempt=row["delivery_attempt"],
        created_at=row["happened_at"],
        attachment=None if row["id"] is None else Attachment.from_row(row),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of an attempt. `fault` is None if the receiver accepted the delivery.

    `delay_s` is the number of seconds to the next attempt, or None if this was the last one.
    """

    delivery_id: int
    attempt: int
    status: int | None = None
    fault: DeliveryFault | None = None
    delay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deactivated(FromRow):
    """A webhook that the service has just deactivated, and the reason."""

    webhook_id: int
    organization_id: int
    because: Deactivation


async def settle(connection: Connection, attempts: Sequence[Attempt]) -> list[Deactivated]:
    """Record the results of attempts, and update their webhooks, in one statement.

    Returns the webhooks that are deactivated by this call. A result is ignored if its delivery has
    a later attempt already, so the call may be repeated.
    """
    rows = await connection.fetch(
        f"""
        WITH ended AS (
            SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::text[],
                                 $5::float8[])
                 AS ended (id, attempt, status, fault, delay_s)
        ), settled AS (
            UPDATE webhook_deliveries AS d
            SET state = CASE WHEN e.fault IS NULL THEN 'delivered'
                             WHEN e.delay_s IS NULL THEN 'failed' ELSE 'pending' END,
                due_at = CASE WHEN e.fault IS NOT NULL THEN now() + e.delay_s * interval '1 second'
                              END,
                attempted_at = now(), status = e.status, fault = e.fault
            FROM ended AS e
            WHERE d.id = e.id AND d.id = ANY($1::bigint[]) AND d.attempt = e.attempt
              AND d.state = 'pending'
            RETURNING d.webhook_id, e.fault
        ), tally AS (
            SELECT webhook_id, bool_or(fault IS NULL) AS accepted,
                   coalesce(bool_or(fault = 'gone'), false) AS gone
            FROM settled WHERE fault IS NULL OR fault <> ALL($6::text[])
            GROUP BY webhook_id
        )
        UPDATE webhooks AS w
        SET failing_since = CASE WHEN NOT t.accepted THEN coalesce(w.failing_since, now()) END,
            failing_for = CASE WHEN t.accepted THEN interval '0' ELSE {_FAILING_FOR} END,
            failed_at = CASE WHEN NOT t.accepted THEN now() END,
            active = w.active AND NOT t.gone AND NOT ({_TOO_LONG}),
            deactivated_at = CASE WHEN t.gone OR {_TOO_LONG} THEN now() ELSE w.deactivated_at END,
            deactivated_because = CASE WHEN t.gone THEN 'gone' WHEN {_TOO_LONG} THEN 'failing'
                                       ELSE w.deactivated_because END
        FROM tally AS t
        WHERE w.id = t.webhook_id AND w.active
          AND (t.gone OR {_TOO_LONG} OR t.accepted = (w.failing_since IS NOT NULL)
               OR (NOT t.accepted AND {_COUNTED_BEFORE}))
        RETURNING w.id AS webhook_id, w.organization_id, w.active,
                  w.deactivated_because AS because
        """,
        *_columns(attempts),
        list(OWN_FAULTS),
    )
    return [Deactivated.from_row(row) for row in rows if not row["active"]]


# A failure adds the time since the previous failure, but at most MAX_PAUSE_S. If more time has
# passed, there was nothing to deliver.
_FAILING_FOR = f"""CASE WHEN w.failing_since IS NULL THEN interval '0'
    ELSE w.failing_for + greatest(interval '0', least(
        now() - coalesce(w.failed_at, now()), interval '{MAX_PAUSE_S} seconds')) END"""

_TOO_LONG = f"""(NOT t.accepted AND ({_FAILING_FOR}) >= interval '{FAILING_DAYS} days')"""

# The row of a failing webhook is updated at most once per COUNT_EVERY_S, not for every failure.
_COUNTED_BEFORE = f"""coalesce(w.failed_at <= now() - interval '{COUNT_EVERY_S} seconds', true)"""


def _columns(attempts: Sequence[Attempt]) -> list[list[Any]]:
    names = ("delivery_id", "attempt", "status", "fault", "delay_s")
    return [[getattr(each, name) for each in attempts] for name in names]
