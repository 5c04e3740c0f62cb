"""The backlog: the number of uploads that wait for a worker, and how long the oldest has waited.

An autoscaler can set the number of workers by the backlog. The view `attachments_backlog`
(migration 0014) computes the backlog. Every few seconds, one process counts the rows and stores the
result as a sample. All processes show that sample, so not every process counts the rows.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from shared import writing
from shared.database import Connection, Database, DatabaseAway
from shared.jitter import spread
from shared.log import get_logger
from shared.metrics import (
    BACKLOG_OLDEST_SECONDS,
    BACKLOG_UPLOADS,
    DEAD_LETTERS,
    DUE_OLDEST_SECONDS,
    DUE_ROWS,
)
from shared.outages import DATABASE
from shared.rows import FromRow

SAMPLE_S: Final = 5.0
"""Maximum age of the stored sample, in seconds. A process that reads an older sample takes a new
one."""

MOST_DUE: Final = 100_000
"""The counting of due rows stops at this number."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog(FromRow):
    """The number of waiting uploads, and how long the oldest has waited: 0 if no upload waits."""

    oldest_seconds: float
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(FromRow):
    """The counts that all processes share: the backlog, the sweep's due rows, the dead letters.

    `is_old` is true if a new sample should be taken.
    """

    oldest_seconds: float
    waiting: int
    due_oldest_seconds: float
    due: int
    letters: int
    is_old: bool


async def measure(connection: Connection) -> Backlog:
    """Count the waiting uploads now, and find how long the oldest of them has waited."""
    row = await connection.fetchrow("SELECT oldest_seconds, waiting FROM attachments_backlog")
    assert row is not None  # the view has one row
    return Backlog.from_row(row)


async def read_sample(connection: Connection, *, max_age_s: float = SAMPLE_S) -> Sample | None:
    """Read the stored sample. Take a new one first if it is older than `max_age_s` seconds.

    If another process is taking a new sample, the old one is returned. Returns None if the table
    lost its only row.
    """
    sample = await _read(connection, max_age_s)
    if sample is None or not sample.is_old:
        return sample
    await _take(connection, max_age_s)
    return await _read(connection, max_age_s)


async def _read(connection: Connection, max_age_s: float) -> Sample | None:
    row = await connection.fetchrow(
        """
        SELECT coalesce(extract(epoch FROM now() - waiting_from), 0)::float8 AS oldest_seconds,
               waiting,
               coalesce(extract(epoch FROM now() - due_from), 0)::float8 AS due_oldest_seconds,
               due, letters, measured_at < now() - $1 * interval '1 second' AS is_old
        FROM backlog_sample
        """,
        max_age_s,
    )
    return Sample.from_row(row) if row else None


async def _take(connection: Connection, max_age_s: float) -> None:
    """Replace the stored sample, unless another process has replaced it or is replacing it."""
    await connection.execute(
        f"""
        WITH mine AS MATERIALIZED (
            SELECT one FROM backlog_sample
            WHERE measured_at < now() - $1 * interval '1 second' FOR UPDATE SKIP LOCKED
        )
        UPDATE backlog_sample AS s
        SET measured_at = now(), waiting = found.waiting,
            waiting_from = CASE WHEN found.waiting > 0
                                THEN now() - found.oldest_seconds * interval '1 second' END,
            due = found.due, due_from = found.due_from, letters = found.letters
        FROM mine CROSS JOIN LATERAL (
            SELECT b.waiting, b.oldest_seconds,
                   (SELECT count(*) FROM (SELECT FROM attachments AS a
                    WHERE a.due_at > '-infinity' AND a.due_at <= now() AND mine.one
                    LIMIT {MOST_DUE}) AS counted) AS due,
                   (SELECT a.due_at FROM attachments AS a
                    WHERE a.due_at > '-infinity' AND a.due_at <= now()
                    ORDER BY a.due_at LIMIT 1) AS due_from,
                   coalesce((SELECT o.letters FROM dead_letter_origins AS o WHERE o.origin = ''),
                            0) AS letters
            FROM attachments_backlog AS b
        ) AS found
        WHERE s.one = mine.one
        """,
        max_age_s,
    )


class BacklogWatch:
    """The last sample that this process has read, for the metrics and for `/backlog`."""

    def __init__(self) -> None:
        self._latest: Backlog | None = None
        self._read_at = 0.0

    @property
    def latest(self) -> Backlog | None:
        """The last backlog that was read, or None if the database is unavailable.

        `oldest_seconds` includes the time since the backlog was read.
        """
        if self._latest is None or not self._latest.waiting:
            return self._latest
        aged_s = time.monotonic() - self._read_at
        return Backlog(
            oldest_seconds=self._latest.oldest_seconds + aged_s, waiting=self._latest.waiting
        )

    @asynccontextmanager
    async def watching(self, database: Database) -> AsyncIterator[None]:
        """Read the stored sample every SAMPLE_S seconds during the `with` block."""
        task = asyncio.create_task(self._watch(database), name="backlog")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, database: Database) -> None:
        while True:
            sample = None
            try:
                if DATABASE.needs_write:
                    await database.run(writing.try_write)
                    DATABASE.success(wrote=True)
                sample = await database.run(read_sample)
            except DatabaseAway:
                pass  # `shared.outages` logs that the database is unavailable
            except Exception:  # the next read may succeed
                log.exception("the backlog was not read")
            self._show(sample)
            await asyncio.sleep(spread(SAMPLE_S))

    def _show(self, sample: Sample | None) -> None:
        self._latest = (
            Backlog(oldest_seconds=sample.oldest_seconds, waiting=sample.waiting)
            if sample is not None
            else None
        )
        self._read_at = time.monotonic()
        for gauge, value in (
            (BACKLOG_OLDEST_SECONDS, sample.oldest_seconds if sample else math.nan),
            (BACKLOG_UPLOADS, sample.waiting if sample else math.nan),
            (DUE_OLDEST_SECONDS, sample.due_oldest_seconds if sample else math.nan),
            (DUE_ROWS, sample.due if sample else math.nan),
            (DEAD_LETTERS, sample.letters if sample else math.nan),
        ):
            gauge.set(value)
