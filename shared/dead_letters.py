"""Dead letters: authenticated messages of stores that could not be used, kept to be replayed.

They are kept as they came, once each however often they come, and are bounded in age and number:
the oldest go first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import asyncpg

from shared.database import Connection, affected
from shared.settings import Settings

PRUNED_AT_A_TIME = 100

SUMMARY = "d.id, d.source, d.dialect, d.reason, d.count, d.first_at, d.last_at, length(d.body)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message: where it came in, the dialect it was taken for, why it could not be used.

    `count` is how often it came, first and last at those times; `size` is its body's, in bytes.
    """

    id: int
    source: str
    dialect: str | None
    reason: str
    count: int
    first_at: datetime
    last_at: datetime
    size: int

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        """Make it from a row of SUMMARY."""
        names = ("id", "source", "dialect", "reason", "count", "first_at", "last_at", "size")
        return cls(**dict(zip(names, row, strict=False)))


async def keep(
    connection: Connection, body: bytes, *, source: str, dialect: str | None, reason: str
) -> None:
    """Keep a message, or count it once more if it is kept already."""
    await connection.execute(
        """
        INSERT INTO dead_letters (digest, body, source, dialect, reason)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (digest) DO UPDATE
        SET count = dead_letters.count + 1, last_at = now(), source = excluded.source,
            dialect = excluded.dialect, reason = excluded.reason
        """,
        hashlib.sha256(body).digest(), body, source, dialect, reason,
    )  # fmt: skip


async def prune(connection: Connection, settings: Settings) -> int:
    """Remove what is too old or too much; returns how many those were.

    No more than two hundred at a time, so that it never takes long.
    """
    status = await connection.execute(
        """
        DELETE FROM dead_letters WHERE id IN (
            SELECT o.id FROM dead_letters AS o
            WHERE o.id = ANY (ARRAY(
                (SELECT d.id FROM dead_letters AS d
                 ORDER BY d.last_at DESC, d.id DESC OFFSET $1 LIMIT $3)
                UNION ALL
                (SELECT d.id FROM dead_letters AS d
                 WHERE d.last_at < now() - $2 * interval '1 second' ORDER BY d.last_at LIMIT $3)
            ))
            -- two that have each kept a letter, and would remove the other's, would wait for ever
            FOR UPDATE SKIP LOCKED
        )
        """,
        settings.dead_letters, settings.dead_letter_age, PRUNED_AT_A_TIME,
    )  # fmt: skip
    return affected(status)


async def list_newest(
    connection: Connection, *, limit: int, before: int | None = None
) -> list[DeadLetter]:
    """List up to `limit` dead letters by falling id, those below `before` if that is given."""
    rows = await connection.fetch(
        f"SELECT {SUMMARY} FROM dead_letters AS d WHERE $2::bigint IS NULL OR d.id < $2"
        " ORDER BY d.id DESC LIMIT $1",
        limit, before,
    )  # fmt: skip
    return [DeadLetter.from_row(row) for row in rows]


async def find(connection: Connection, letter_id: int) -> tuple[DeadLetter, bytes] | None:
    """Find a dead letter and its body."""
    row = await connection.fetchrow(
        f"SELECT {SUMMARY}, d.body FROM dead_letters AS d WHERE d.id = $1", letter_id
    )
    return (DeadLetter.from_row(row), row["body"]) if row else None


async def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Remove dead letters that have been replayed."""
    await connection.execute("DELETE FROM dead_letters WHERE id = ANY($1::bigint[])", ids)
