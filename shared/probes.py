"""Probes: the attachments with which `attachments doctor` tries the whole way of an upload.

They belong to `ORGANIZATION`, which no token can name. Of their events every arrival is written
down, also of those that have no effect, so that the doctor can tell how events come, how late and
how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection
from shared.keys import parse_key
from shared.notifications import UploadEvent

ORGANIZATION = 0
"""Ids of organizations begin at 1."""

NAME = "attachments-doctor.png"
"""The name of every probe. A client may name a file so too; its events are not written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One event of a probe: the way it came in, its dialect, and when, by the database's clock."""

    source: str
    dialect: str
    arrived_at: datetime


async def note_arrivals(
    connection: Connection, events: Sequence[UploadEvent], *, source: str, dialect: str
) -> None:
    """Write down which of the events are of probes; costs nothing where none is named like one."""
    ids = [
        key[0]
        for event in events
        if event.key.endswith(f"/{NAME}") and (key := parse_key(event.key)) is not None
    ]
    if ids:
        await connection.execute(
            "INSERT INTO probe_arrivals (attachment_id, source, dialect)"
            " SELECT a.id, $2, $3 FROM attachments AS a"
            " WHERE a.id = ANY($1::bigint[]) AND a.organization_id = $4 AND a.deleted_at IS NULL",
            ids, source, dialect, ORGANIZATION,
        )  # fmt: skip


async def find_arrivals(connection: Connection, attachment_id: int) -> list[Arrival]:
    """List the arrivals of a probe's events, in the order in which they came."""
    rows = await connection.fetch(
        "SELECT source, dialect, arrived_at FROM probe_arrivals WHERE attachment_id = $1"
        " ORDER BY id",
        attachment_id,
    )
    return [Arrival(source=row[0], dialect=row[1], arrived_at=row[2]) for row in rows]
