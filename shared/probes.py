"""Probes: the attachments with which `attachments doctor` tests the complete path of an upload.

Probes belong to `ORGANIZATION`, which no token can name. Each arrival of a probe's event is
recorded, even if the event has no effect. So the doctor can report from which source the events
arrive, how late and how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.notifications import UploadEvent
from shared.notifications.event import MessageSource
from shared.rows import FromRow

ORGANIZATION = 0
"""The organization of all probes. The ids of real organizations begin at 1."""

NAME = "attachments-doctor.png"
"""The file name of every probe. A client's file may have this name too, but arrivals of its events
are not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(FromRow):
    """The arrival of one event of a probe; `arrived_at` is by the database's clock."""

    source: MessageSource
    dialect: str
    arrived_at: datetime


async def note_arrivals(
    connection: Connection, events: Sequence[UploadEvent], *, source: MessageSource, dialect: str
) -> None:
    """Record the events of probes. No statement runs if no event's key has a probe's name."""
    ids = [
        event.attachment_id
        for event in events
        if event.key.endswith(f"/{NAME}") and event.attachment_id is not None
    ]
    if ids:
        await connection.execute(
            "INSERT INTO probe_arrivals (attachment_id, source, dialect)"
            " SELECT a.id, $2, $3 FROM attachments AS a"
            " WHERE a.id = ANY($1::bigint[]) AND a.organization_id = $4 AND a.deleted_at IS NULL",
            ids,
            source,
            dialect,
            ORGANIZATION,
        )


async def find_arrivals(connection: Connection, attachment_id: int) -> list[Arrival]:
    """List the arrivals of a probe's events, the earliest first."""
    rows = await connection.fetch(
        "SELECT source, dialect, arrived_at FROM probe_arrivals WHERE attachment_id = $1"
        " ORDER BY id",
        attachment_id,
    )
    return [Arrival.from_row(row) for row in rows]


async def find_leftovers(connection: Connection, *, bucket: str) -> list[Attachment]:
    """List up to 100 probes of a bucket that were not removed within an hour."""
    rows = await connection.fetch(
        # Each side of the OR below is the condition of an index.
        f"SELECT {COLUMNS} FROM attachments AS a"
        " WHERE (a.deleted_at IS NULL OR a.due_at IS NOT NULL) AND a.organization_id = $1"
        " AND a.bucket = $2 AND a.created_at < now() - interval '1 hour' LIMIT 100",
        ORGANIZATION,
        bucket,
    )
    return [Attachment.from_row(row) for row in rows]


async def forget(connection: Connection, ids: Sequence[int]) -> None:
    """Remove probes and their arrivals, and all arrivals older than an hour. May be repeated."""
    async with connection.transaction():
        await connection.execute(
            "DELETE FROM attachments WHERE id = ANY($1::bigint[]) AND organization_id = $2",
            ids,
            ORGANIZATION,
        )
        await connection.execute(
            "DELETE FROM probe_arrivals WHERE attachment_id = ANY($1::bigint[])"
            " OR arrived_at < now() - interval '1 hour'",
            ids,
        )
