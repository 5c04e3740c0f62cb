"""Count the usage of organizations from their rows: the first count and later corrections.

Triggers keep counters of the usage, which `shared.quotas` reads.
"""

import asyncio
from collections.abc import Mapping
from datetime import date, datetime

from shared.database import Connection
from shared.keys import MAX_ID
from shared.quotas import COUNTERS

AT_ONCE = 50_000
"""An organization with at most this many attachments is counted within a request. A worker counts
larger organizations."""

COUNT_TIMEOUT_S = 600
OTHERS_TIMEOUT_S = 30
"""Seconds that a recount waits for transactions that began earlier. The service's own statements
end after 5 s."""


async def start(connection: Connection, organization_id: int) -> None:
    """Make the triggers keep the counters of an organization from now on. May be repeated."""
    await connection.execute(
        "UPDATE organizations SET usage_since = now() WHERE id = $1 AND usage_since IS NULL",
        organization_id,
    )


_FACTS = """
    SELECT count(*) FILTER (WHERE f.live)::bigint AS attachments,
           coalesce(sum(f.bytes), 0)::bigint AS bytes,
           (count(*) FILTER (WHERE f.created_at AT TIME ZONE 'UTC' >= d.today))::bigint AS uploads
    FROM (
        SELECT true AS live, attachment_bytes(a) AS bytes, a.created_at
        FROM attachments AS a WHERE a.organization_id = $1 AND a.deleted_at IS NULL
        UNION ALL
        SELECT false, attachment_bytes(a), a.created_at
        FROM attachments AS a WHERE a.organization_id = $1 AND a.deleted_at IS NOT NULL
          AND a.due_at IS NOT NULL
    ) AS f CROSS JOIN (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS d
"""


async def recount(connection: Connection, organization_id: int) -> dict[str, int]:
    """Count an organization's rows, correct its counters, and return the correction of each.

    Rows and counters are read in one snapshot without locks. A change of a row changes the counters
    too, and the snapshot has both changes or neither. So the difference is right, and only the
    difference is added to a counter. Takes up to ten minutes. Uploads of today that were already
    purged cannot be counted, so the counter of today's uploads is never lowered. May be repeated.
    If two recounts run at once, the second changes nothing.
    """
    await start(connection, organization_id)
    await _let_others_end(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT_S}s'")
        before, day = await connection.fetchrow(
            "SELECT usage_counted_at, (now() AT TIME ZONE 'UTC')::date FROM organizations"
            " WHERE id = $1",
            organization_id,
        ) or (None, None)
        facts = await connection.fetchrow(_FACTS, organization_id, timeout=COUNT_TIMEOUT_S)
        counters = await connection.fetchrow(COUNTERS, organization_id)
    assert facts is not None
    assert counters is not None
    drift = {name: facts[name] - counters[name] for name in ("attachments", "bytes", "uploads")}
    drift["uploads"] = max(0, drift["uploads"])
    if day is None or not await _mend(connection, organization_id, before, day, drift):
        return dict.fromkeys(drift, 0)
    return drift


async def _let_others_end(connection: Connection) -> None:
    """Wait for the end of all transactions that may have begun before the triggers counted.

    The counters do not contain the changes of such a transaction. While the transaction is open, a
    snapshot of `recount` does not contain them either. So `recount` would not correct this
    difference. Raises TimeoutError after OTHERS_TIMEOUT_S.
    """
    ours = await connection.fetchval("SELECT pg_current_xact_id()::text")
    ended = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8"
    async with asyncio.timeout(OTHERS_TIMEOUT_S):
        while not await connection.fetchval(ended, ours):  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.02)


async def _mend(
    connection: Connection,
    organization_id: int,
    before: datetime | None,
    day: date,
    drift: Mapping[str, int],
) -> bool:
    """Add the corrections to the counters, unless another recount has ended since `before`."""
    mended = await connection.fetchval(
        """
        WITH ours AS (
            UPDATE organizations SET usage_counted_at = clock_timestamp()
            WHERE id = $1 AND usage_counted_at IS NOT DISTINCT FROM $2 RETURNING id
        ), added AS (
            INSERT INTO usage AS u (organization_id, slot, attachments, bytes, uploads, day)
            SELECT id, 0, $4, $5, $6, $3 FROM ours
            ON CONFLICT (organization_id, slot) DO UPDATE
            SET attachments = u.attachments + excluded.attachments,
                bytes = u.bytes + excluded.bytes,
                uploads = CASE WHEN u.day < excluded.day THEN excluded.uploads
                               WHEN u.day = excluded.day THEN u.uploads + excluded.uploads
                               ELSE u.uploads END,
                day = greatest(u.day, excluded.day)
        )
        SELECT id FROM ours
        """,
        organization_id,
        before,
        day,
        drift["attachments"],
        drift["bytes"],
        drift["uploads"],
    )
    return mended is not None


async def count_first(connection: Connection, organization_id: int) -> bool:
    """Count an organization for the first time if it has at most AT_ONCE attachments.

    Returns whether the organization is counted. If not, a worker counts it later: see
    `count_waiting`. May be repeated.
    """
    await start(connection, organization_id)
    if await connection.fetchval(
        "SELECT usage_counted_at IS NOT NULL FROM organizations WHERE id = $1", organization_id
    ):
        return True
    beyond = await connection.fetchval(
        # Both columns are compared, so that the planner does not choose the primary key: see
        # `shared.lists`.
        "SELECT EXISTS (SELECT FROM attachments AS a WHERE (a.organization_id, a.id) > ($1, 0)"
        " AND (a.organization_id, a.id) < ($1, $2::bigint) AND a.deleted_at IS NULL"
        f" ORDER BY a.organization_id, a.id OFFSET {AT_ONCE} LIMIT 1)",
        organization_id,
        MAX_ID,
    )
    if beyond:
        return False
    await recount(connection, organization_id)
    return True


async def count_waiting(connection: Connection) -> int | None:
    """Count one organization that waits for its first count. Returns its id, or None."""
    waiting = await connection.fetchval(
        "SELECT id FROM organizations WHERE usage_since IS NOT NULL AND usage_counted_at IS NULL"
        " ORDER BY id LIMIT 1"
    )
    if waiting is None:
        return None
    await recount(connection, waiting)
    return int(waiting)
