"""SQL statements with which the sweep takes due rows. Each organization gets its turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection, affected
from shared.lifecycle import ACTIVE, LAST_CHECK, WakeUp
from shared.rows import FromRow
from shared.states import State

SWEEP_WINDOW = 1000
"""If at least this many rows are due, the sweep visits one organization after another. If fewer
rows are due, one sweep ranks all of them."""

SWEEP_WALK = 1000
"""One sweep visits at most this many organizations. The next sweep continues after them."""


async def make_due(connection: Connection, wake_ups: Sequence[WakeUp]) -> int:
    """Make unclaimed uploads due now, before their grace time for publishing ends.

    Returns the number of changed rows. Rows that are claimed, finished or deleted are not changed.
    May be repeated.
    """
    status = await connection.execute(
        """
        UPDATE attachments AS a SET due_at = now()
        WHERE a.id = ANY($1::bigint[]) AND a.state = 'uploaded' AND a.deleted_at IS NULL
          AND a.claimed_revision < a.revision AND a.due_at > now()
        """,
        [wake_up.attachment_id for wake_up in wake_ups],
    )
    return affected(status)


class Duty(StrEnum):
    """The work that the sweep must do for a due row."""

    PROCESS = "process"
    CHECK = "check"
    PURGE = "purge"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(FromRow):
    """A due row that the sweep took. If `duty` is PROCESS, the row is claimed. Otherwise it becomes
    due again later.

    `was` is the row's state before the sweep took it.
    """

    duty: Duty
    attachment: Attachment
    was: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The due rows that a sweep took, and the organization after which the next sweep begins."""

    due: list[Due]
    walked_to: int


async def take_due(
    connection: Connection, *, limit: int, lease_s: float, attempts: int, after: int = 0
) -> Sweep:
    """Take up to `limit` due rows, from the organizations in turn, for `lease_s` seconds.

    If few rows are due, all of them are ranked. If many are due, the sweep visits one organization
    after another, beginning with the one after the id `after`. So an organization with many due
    rows does not delay the others. An upload whose `attempts` are used up becomes `failed` here.
    Many sweeps may run at once: with SKIP LOCKED, each skips the rows that another sweep is taking.
    """
    rows = await connection.fetch(
        f"""
        WITH RECURSIVE oldest AS MATERIALIZED (
            SELECT a.id, a.organization_id, a.due_at
            FROM attachments AS a WHERE a.due_at > '-infinity' AND a.due_at <= now()
            ORDER BY a.due_at LIMIT {SWEEP_WINDOW}
        ), walk AS (
            -- One look-up for each organization, for its earliest row. Runs only with a backlog.
            -- Ends after $1 organizations with due rows, because one row of each of them is taken.
            SELECT $4::bigint AS organization_id, NULL::timestamptz AS due_at,
                   false AS around, 0 AS step, 0 AS found
            WHERE (SELECT count(*) FROM oldest) = {SWEEP_WINDOW}
            UNION ALL
            SELECT next.organization_id, next.due_at, next.around, walk.step + 1,
                   walk.found + (next.due_at <= now())::integer
            FROM walk CROSS JOIN LATERAL (
                (SELECT a.organization_id, a.due_at, walk.around FROM attachments AS a
                 WHERE a.due_at IS NOT NULL AND a.organization_id > walk.organization_id
                 ORDER BY a.organization_id, a.due_at LIMIT 1)
                UNION ALL  -- after the last organization continue with the first, once
                (SELECT a.organization_id, a.due_at, true FROM attachments AS a
                 WHERE a.due_at IS NOT NULL AND NOT walk.around
                 ORDER BY a.organization_id, a.due_at LIMIT 1)
                LIMIT 1
            ) AS next
            WHERE walk.step < {SWEEP_WALK} AND walk.found < $1::bigint
              AND NOT (next.around AND next.organization_id > $4)
        ), known AS (
            SELECT id, organization_id, due_at FROM oldest
            UNION
            SELECT a.id, a.organization_id, a.due_at
            FROM walk CROSS JOIN LATERAL (
                -- A range in the order of the index, like the walk's look-ups, instead of "=": if
                -- the planner's statistics know only one organization, "=" filters nothing. The
                -- rows of the next organization are dropped below.
                SELECT a.id, a.organization_id, a.due_at FROM attachments AS a
                WHERE a.due_at IS NOT NULL AND a.organization_id >= walk.organization_id
                ORDER BY a.organization_id, a.due_at
                -- with more organizations, fewer rows of each can get a turn
                LIMIT least($1, 1 + {SWEEP_WALK} / (SELECT max(found) FROM walk))
            ) AS a
            WHERE walk.due_at <= now() AND a.organization_id = walk.organization_id
              AND a.due_at <= now()
        ), ranked AS (
            SELECT known.id, known.due_at, walk.step,
                   row_number() OVER (PARTITION BY known.organization_id
                                      ORDER BY known.due_at) AS turn
            FROM known LEFT JOIN walk
              ON walk.organization_id = known.organization_id AND walk.due_at <= now()
        ), taken AS (
            -- Rows are locked one by one in this order until $1 are locked; no more are touched.
            SELECT locked.id, locked.duty, locked.was
            FROM (SELECT id FROM ranked ORDER BY turn, step, due_at) AS next
            CROSS JOIN LATERAL (
                -- The row is read again here, with its duty, because it may have changed since it
                -- was ranked. IS TRUE makes the planner use the primary key, for any statistics.
                SELECT a.id, a.state AS was,
                       CASE WHEN a.deleted_at IS NOT NULL THEN 'purge'
                            WHEN NOT {ACTIVE} THEN 'check'
                            WHEN a.claimed_revision = a.revision AND a.attempt >= $3
                                THEN 'given_up'
                            ELSE 'process' END AS duty
                FROM attachments AS a WHERE a.id = next.id AND (a.due_at <= now()) IS TRUE
                FOR UPDATE SKIP LOCKED
            ) AS locked
            LIMIT $1
        )
        UPDATE attachments AS a
        SET state = CASE duty WHEN 'process' THEN 'processing'
                              WHEN 'given_up' THEN 'failed' ELSE a.state END,
            reason = CASE duty WHEN 'given_up' THEN coalesce(a.reason, 'attempts_used_up')
                               ELSE a.reason END,
            attempt = CASE WHEN duty <> 'process' THEN a.attempt
                           WHEN a.claimed_revision = a.revision THEN a.attempt + 1 ELSE 1 END,
            claimed_revision = CASE duty WHEN 'process' THEN a.revision
                                         ELSE a.claimed_revision END,
            processed_at = CASE duty WHEN 'given_up' THEN now() ELSE a.processed_at END,
            due_at = CASE WHEN duty = 'given_up' AND a.copy_key IS NULL THEN {LAST_CHECK}
                          ELSE now() + $2 * interval '1 second' END
        FROM taken WHERE a.id = taken.id
        RETURNING {COLUMNS}, duty, was,
                  (SELECT organization_id FROM walk ORDER BY step DESC LIMIT 1) AS walked_to
        """,
        limit,
        lease_s,
        attempts,
        after,
    )
    walked_to = rows[0]["walked_to"] if rows else None
    return Sweep(
        due=[
            Due.from_row(row, duty=Duty(row["duty"]), attachment=Attachment.from_row(row))
            for row in rows
        ],
        walked_to=after if walked_to is None else walked_to,
    )
