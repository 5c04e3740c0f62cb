"""Statements for clients that wait until an attachment needs no more polling (`SETTLED`)."""

from collections.abc import Sequence
from uuid import UUID

from shared.database import Connection
from shared.states import SETTLED

CHANNEL = "attachments_settled"
"""The channel of the trigger of migration 0015; its payload is the id of the attachment."""


async def announce_waiting(connection: Connection, process: UUID, *, within_s: float) -> None:
    """Have settled attachments notified for `within_s` seconds. May be repeated.

    A transaction that began before does not notify yet.
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
    """Return those of the ids whose attachments are settled or deleted."""
    rows = await connection.fetch(
        "SELECT a.id FROM attachments AS a WHERE a.id = ANY($1::bigint[])"
        " AND (a.state = ANY($2::text[]) OR a.deleted_at IS NOT NULL)",
        ids,
        SETTLED,
    )
    return [row["id"] for row in rows]
