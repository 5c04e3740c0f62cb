"""What organizations use, counted anew: the first time, and where counters are wrong."""

import asyncio
from collections.abc import Mapping
from datetime import date, datetime

from shared.database import Connection
from shared.quotas import COUNTERS

AT_ONCE = 50_000
"""An organization with more attachments is not counted by a request, but by a worker."""

COUNT_TIMEOUT_S = 600
OTHERS_TIMEOUT_S = 30
"""How long a recount waits for statements that began before it; ours end after 5 s."""


async def start(connection: Connection, organization_id: int) -> None:
    """Have triggers count an organization from now on. May be repeated."""
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
    """Count an organization anew and mend its counters; returns by how much each was wrong.

    Nothing is locked meanwhile: rows and counters are read in one snapshot, which has every change
    in both or in neither, and only the difference is added. Takes up to ten minutes. Uploads of
    today that were purged today cannot be found any more, so that count is never lowered. May be
    repeated; of two that run at one time the second changes nothing.
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
    """Wait until every transaction has ended that may have begun before counting did.

    Its changes are not in the counters, and would not be in the snapshot either.
    """
    ours = await connection.fetchval("SELECT pg_current_xact_id()::text")
    ended = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8"
    async with asyncio.timeout(OTHERS_TIMEOUT_S):
        while not await connection.fetchval(ended, ours):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.02)


async def _mend(
    connection: Connection,
    organization_id: int,
    before: datetime | None,
    day: date,
    drift: Mapping[str, int],
) -> bool:
    """Add a drift to the counters unless another recount has done so since `before`."""
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
    """Count an organization for the first time, if it is small enough to do so in a request.

    Returns whether it is counted. If not, a worker counts it: see `count_waiting`.
    """
    await start(connection, organization_id)
    if await connection.fetchval(
        "SELECT usage_counted_at IS NOT NULL FROM organizations WHERE id = $1", organization_id
    ):
        return True
    beyond = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM attachments AS a WHERE a.organization_id = $1"
        f" AND a.deleted_at IS NULL ORDER BY a.id OFFSET {AT_ONCE} LIMIT 1)",
        organization_id,
    )
    if beyond:
        return False
    await recount(connection, organization_id)
    return True


async def count_waiting(connection: Connection) -> int | None:
    """Count one organization that waits for its first count; returns its id, None if none does."""
    waiting = await connection.fetchval(
        "SELECT id FROM organizations WHERE usage_since IS NOT NULL AND usage_counted_at IS NULL"
        " ORDER BY id LIMIT 1"
    )
    if waiting is None:
        return None
    await recount(connection, waiting)
    return int(waiting)
