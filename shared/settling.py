"""SQL statements for clients that wait until an attachment is settled: in one of `SETTLED`."""

from collections.abc import Sequence
from uuid import UUID

from shared.database import Connection
from shared.states import SETTLED

CHANNEL = "attachments_settled"
"""The PostgreSQL channel on which the trigger of migration 0015 notifies; the payload is the
attachment's id."""


async def announce_waiting(connection: Connection, process: UUID, *, within_s: float) -> None:
    """Make the database notify a process of settled attachments for `within_s` seconds.

    May be repeated. Transactions that began before this call do not notify the process.
    """
    await connection.execute(
        """
        WITH ended AS (DELETE FROM waiting WHERE ends_at < now() AND process <> $1)
        INSERT INTO waiting (process, ends_at) VALUES ($1, now() + $2 * interval '1 second')
        ON CONFLICT (process) DO UPDATE SET ends_at = excluded.ends_at
        """,
        process,
        within_s,
    )


async def find_settled(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return those ids whose attachments are settled or deleted."""
    rows = await connection.fetch(
        "SELECT a.id FROM attachments AS a WHERE a.id = ANY($1::bigint[])"
        " AND (a.state = ANY($2::text[]) OR a.deleted_at IS NOT NULL)",
        ids,
        SETTLED,
    )
    return [row["id"] for row in rows]
