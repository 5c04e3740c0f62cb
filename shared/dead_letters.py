"""Dead letters: authenticated messages of stores that could not be used. They can be replayed.

Each message is stored once and unchanged, even if it is received several times. The age and the
number of messages are limited. The oldest messages of the origin with the most messages are removed
first, so a flood from one origin removes only messages of that origin.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection, affected
from shared.notifications.event import MessageSource
from shared.rows import FromRow
from shared.settings import Settings

PRUNED_AT_A_TIME = 100

UNKNOWN = "unknown"
"""The origin of dead letters that earlier releases stored."""

MAX_ORIGIN_BYTES = 64 * 1024 * 1024
"""All dead letters of one origin together may have at most this many bytes."""

SUMMARY = (
    "d.id, d.source, d.origin, d.dialect, d.reason, d.count, d.first_at, d.last_at,"
    " length(d.body) AS size"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(FromRow):
    """One message: its source, its dialect if that was recognized, and why it could not be used.

    `origin` names the first sender of the message (see `shared.intake.Message`); it is `unknown` in
    old rows. `count` is how often the message was received, `first_at` and `last_at` are the first
    and the last time. `size` is the size of its body in bytes.
    """

    id: int
    source: MessageSource
    origin: str
    dialect: str | None
    reason: str
    count: int
    first_at: datetime
    last_at: datetime
    size: int


async def keep(
    connection: Connection,
    body: bytes,
    *,
    source: MessageSource,
    dialect: str | None,
    reason: str,
    origin: str = UNKNOWN,
) -> bool:
    """Store a message, or raise its count if it is stored already. Returns True if it is new.

    A stored message keeps the origin that sent it first. Otherwise a flood from another origin
    could take the message over and cause its removal.
    """
    inserted: bool = await connection.fetchval(
        """
        INSERT INTO dead_letters (digest, body, size, source, origin, dialect, reason)
        VALUES ($1, $2, length($2::bytea), $3, $4, $5, $6)
        ON CONFLICT (digest) DO UPDATE
        SET count = dead_letters.count + 1, last_at = now(), source = excluded.source,
            dialect = excluded.dialect, reason = excluded.reason
        RETURNING xmax = 0
        """,
        hashlib.sha256(body).digest(),
        body,
        source,
        origin,
        dialect,
        reason,
    )
    return inserted


async def count_again(connection: Connection, body: bytes) -> bool:
    """Raise the count of a message if it is stored already. Returns whether it is stored."""
    status = await connection.execute(
        "UPDATE dead_letters SET count = count + 1, last_at = now() WHERE digest = $1",
        hashlib.sha256(body).digest(),
    )
    return affected(status) > 0


async def lock(connection: Connection) -> None:
    """Block other writers of dead letters until the caller's transaction ends.

    Call it before the first dead letter is stored. Otherwise two transactions that store the same
    messages in another order could deadlock.
    """
    await connection.execute("SELECT FROM dead_letter_origins WHERE origin = '' FOR NO KEY UPDATE")


async def prune(connection: Connection, settings: Settings, origins: Sequence[str] = ()) -> int:
    """Remove dead letters that are too old or too many, and return how many. May be repeated.

    If there are more than ATTACHMENTS_DEAD_LETTERS, the origin with the most dead letters loses its
    oldest ones, until it has no more than the next origin. If one of `origins` has more than
    MAX_ORIGIN_BYTES, it loses its oldest ones too. Each rule removes up to PRUNED_AT_A_TIME dead
    letters in one call. Triggers keep the counts (migration 0007), so the cost depends only on the
    number of removed dead letters.
    """
    async with connection.transaction():
        await lock(connection)
        removed = await _prune_old(connection, settings)
        for origin in origins:
            removed += await _prune_bytes(connection, origin)
        return removed + await _prune_most(connection, settings)


async def _prune_old(connection: Connection, settings: Settings) -> int:
    status = await connection.execute(
        "DELETE FROM dead_letters WHERE id = ANY (ARRAY("
        " SELECT d.id FROM dead_letters AS d WHERE d.last_at < now() - $1 * interval '1 second'"
        " ORDER BY d.last_at, d.id LIMIT $2))",
        settings.dead_letter_age,
        PRUNED_AT_A_TIME,
    )
    return affected(status)


async def _prune_bytes(connection: Connection, origin: str) -> int:
    """Remove the oldest dead letters of an origin while it has more than MAX_ORIGIN_BYTES."""
    held = await connection.fetchval(
        "SELECT bytes FROM dead_letter_origins WHERE origin = $1 AND bytes > $2",
        origin,
        MAX_ORIGIN_BYTES,
    )
    if held is None:
        return 0
    status = await connection.execute(
        """
        DELETE FROM dead_letters WHERE id = ANY (ARRAY(
            SELECT s.id
            FROM (SELECT d.id, sum(d.size) OVER (ORDER BY d.last_at, d.id) - d.size AS removed
                  FROM (SELECT d.id, d.last_at, d.size FROM dead_letters AS d WHERE d.origin = $1
                        ORDER BY d.last_at, d.id LIMIT $2) AS d) AS s
            WHERE s.removed < $3
        ))
        """,
        origin,
        PRUNED_AT_A_TIME,
        held - MAX_ORIGIN_BYTES,
    )
    return affected(status)


async def _prune_most(connection: Connection, settings: Settings) -> int:
    """Remove the oldest dead letters of the largest origins while the total number is too high."""
    total: int = await connection.fetchval(
        "SELECT letters FROM dead_letter_origins WHERE origin = ''"
    )
    left = min(total - settings.dead_letters, PRUNED_AT_A_TIME)
    removed = 0
    while removed < left:
        most = await connection.fetch(
            "SELECT origin, letters FROM dead_letter_origins WHERE origin <> ''"
            " ORDER BY letters DESC LIMIT 2"
        )
        above_next = most[0]["letters"] - most[1]["letters"] if len(most) > 1 else left
        status = await connection.execute(
            "DELETE FROM dead_letters WHERE id = ANY (ARRAY("
            " SELECT d.id FROM dead_letters AS d WHERE d.origin = $1"
            " ORDER BY d.last_at, d.id LIMIT $2))",
            most[0]["origin"],
            min(left - removed, max(1, above_next)),
        )
        if not affected(status):
            break
        removed += affected(status)
    return removed


async def list_newest(
    connection: Connection, *, limit: int, before: int | None = None
) -> list[DeadLetter]:
    """List up to `limit` dead letters, newest first. With `before`, list only lower ids."""
    rows = await connection.fetch(
        f"SELECT {SUMMARY} FROM dead_letters AS d WHERE $2::bigint IS NULL OR d.id < $2"
        " ORDER BY d.id DESC LIMIT $1",
        limit,
        before,
    )
    return [DeadLetter.from_row(row) for row in rows]


async def find(connection: Connection, letter_id: int) -> tuple[DeadLetter, bytes] | None:
    """Find a dead letter and its body. Returns None if no dead letter has that id."""
    row = await connection.fetchrow(
        f"SELECT {SUMMARY}, d.body FROM dead_letters AS d WHERE d.id = $1", letter_id
    )
    return (DeadLetter.from_row(row), row["body"]) if row else None


async def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Remove dead letters that have been replayed."""
    await connection.execute("DELETE FROM dead_letters WHERE id = ANY($1::bigint[])", ids)
