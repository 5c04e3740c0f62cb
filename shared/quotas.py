"""Quotas of organizations, and what they have used: bytes, attachments, uploads a day.

Triggers count (migrations 0005 and 0006), from the moment at which an organization is first looked
at or limited: what is not counted costs nothing. So the counters hold whatever writes the table.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from shared.database import Connection
from shared.errors import AttachmentsError
from shared.part_settings import QuotaSettings

UNLIMITED = -1
"""What is stored of an organization that has no quota, whatever the settings say."""

COLUMNS = ("quota_attachments", "quota_bytes", "quota_uploads_per_day")

NOT_COUNTED = "AQ001"
EXCEEDED = "AQ002"

AT_ONCE = 50_000
"""An organization with more attachments is not counted by a request, but by a worker."""

COUNT_TIMEOUT_S = 600
OTHERS_TIMEOUT_S = 30
"""How long a recount waits for statements that began before it; ours end after 5 s."""


class NotCounted(AttachmentsError):
    """An organization has a quota, but its usage is not counted yet: see `start`."""


class QuotaExceeded(AttachmentsError):
    """A quota does not leave room: its name, the limit, and what is used of it."""

    def __init__(self, quota: str, limit: int, used: int) -> None:
        super().__init__(f"the quota of {limit} {quota} is used up")
        self.quota = quota
        self.limit = limit
        self.used = used


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The most that an organization may have or do; None is no limit. `bytes` includes promises."""

    attachments: int | None = None
    bytes: int | None = None
    uploads_per_day: int | None = None

    @classmethod
    def of_settings(cls, settings: QuotaSettings) -> "Quotas":
        """Give the quotas of every organization that has none of its own."""
        return cls(
            attachments=settings.quota_attachments,
            bytes=settings.quota_bytes,
            uploads_per_day=settings.quota_uploads_per_day,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an organization uses, as of a time by the database's clock.

    The counts are None while a large organization is being counted for the first time.
    """

    organization_id: int
    attachments: int | None
    bytes: int | None
    uploads_today: int | None
    quotas: Quotas
    as_of: datetime


def translate(error: asyncpg.PostgresError) -> AttachmentsError | None:
    """Give the error that `hold_quota` means; None for any other of PostgreSQL's."""
    if error.sqlstate == NOT_COUNTED:
        return NotCounted()
    if error.sqlstate == EXCEEDED:
        found = json.loads(str(error.detail))
        return QuotaExceeded(found["quota"], found["limit"], max(0, found["used"]))
    return None


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
_COUNTERS = """
    SELECT coalesce(sum(u.attachments), 0)::bigint AS attachments,
           coalesce(sum(u.bytes), 0)::bigint AS bytes,
           coalesce(sum(u.uploads) FILTER (WHERE u.day = (now() AT TIME ZONE 'UTC')::date), 0)
               ::bigint AS uploads
    FROM usage AS u WHERE u.organization_id = $1
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
        counters = await connection.fetchrow(_COUNTERS, organization_id)
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


async def find_usage(
    connection: Connection, organization_id: int, usual: Quotas
) -> tuple[Usage, bool] | None:
    """Return what an organization uses, and whether it is counted; None if it does not exist.

    `usual` are the quotas of the settings. Costs the same however much there is.
    """
    row = await connection.fetchrow(
        f"""
        SELECT c.attachments, c.bytes, c.uploads, o.usage_counted_at IS NOT NULL AS counted,
               {", ".join(f"o.{name}" for name in COLUMNS)}, now() AS as_of
        FROM organizations AS o CROSS JOIN ({_COUNTERS}) AS c WHERE o.id = $1
        """,
        organization_id,
    )
    if row is None:
        return None
    counts = [max(0, row[name]) if row["counted"] else None for name in range(3)]
    usage = Usage(
        organization_id=organization_id,
        attachments=counts[0],
        bytes=counts[1],
        uploads_today=counts[2],
        quotas=effective(row, usual),
        as_of=row["as_of"],
    )
    return usage, bool(row["counted"])


@asynccontextmanager
async def growing(
    connection: Connection, organization_id: int, usual: Quotas | None
) -> AsyncIterator[None]:
    """Hold an organization to its quota of bytes while the block changes what it counts.

    Must be within a transaction, which changes of other transactions to the same organization wait
    for. Raises QuotaExceeded after a block that has it count more than before, and too much.
    `usual` is None if nothing limits the organization.
    """
    if usual is None:
        yield
        return
    await connection.execute(
        "SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE", organization_id
    )
    before = await find_usage(connection, organization_id, usual)
    yield
    after = await find_usage(connection, organization_id, usual)
    if before is None or after is None or before[0].bytes is None or after[0].bytes is None:
        return
    limit, used = after[0].quotas.bytes, before[0].bytes
    if limit is not None and after[0].bytes > max(limit, used):
        raise QuotaExceeded("bytes", limit, used)


def effective(row: asyncpg.Record, usual: Quotas) -> Quotas:
    """Give the quotas that hold for an organization: its own, else those of the settings."""
    found = []
    for name, default in zip(
        COLUMNS, (usual.attachments, usual.bytes, usual.uploads_per_day), strict=True
    ):
        own = row[name]
        found.append(default if own is None else None if own == UNLIMITED else int(own))
    return Quotas(attachments=found[0], bytes=found[1], uploads_per_day=found[2])


async def set_quotas(
    connection: Connection, organization_id: int, quotas: Mapping[str, int | None]
) -> bool:
    """Set an organization's own quotas by column; returns whether there is such an organization.

    None leaves a quota to the settings, UNLIMITED lifts it. What is not named stays as it is.
    """
    assert quotas.keys() <= set(COLUMNS)
    assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(quotas, 2))
    found = await connection.fetchval(
        f"UPDATE organizations SET {assignments} WHERE id = $1 RETURNING id",
        organization_id,
        *quotas.values(),
    )
    return found is not None


async def organization_ids(connection: Connection) -> list[int]:
    """List the ids of all organizations, ascending."""
    return [row[0] for row in await connection.fetch("SELECT id FROM organizations ORDER BY id")]
