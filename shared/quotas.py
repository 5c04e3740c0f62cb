"""The quotas of organizations and their usage: bytes, attachments, uploads per day.

Triggers count the usage (migrations 0005 and 0006), so every write to the table is counted. The
counting starts when an organization's usage is first requested or limited. Before that, the
triggers cost nothing.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from shared.database import Connection
from shared.errors import AttachmentsError
from shared.part_settings import QuotaSettings
from shared.rows import FromRow

QuotaName = Literal["attachments", "bytes", "uploads_per_day"]

UNLIMITED = -1
"""The stored value for "no quota". It overrides a quota of the settings."""

COLUMNS = ("quota_attachments", "quota_bytes", "quota_uploads_per_day")

NOT_COUNTED = "AQ001"
EXCEEDED = "AQ002"


class NotCounted(AttachmentsError):
    """An organization has a quota, but its usage is not counted yet: see `shared.counting`."""


class QuotaExceeded(AttachmentsError):
    """A request would exceed a quota. The error has the quota's name and limit, and the usage."""

    def __init__(self, quota: QuotaName, limit: int, used: int) -> None:
        super().__init__(f"the quota of {limit} {quota} is used up")
        self.quota: QuotaName = quota
        self.limit = limit
        self.used = used


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The limits of an organization; None means no limit.

    `bytes` also limits the bytes that are promised to uploads that have not arrived.
    """

    attachments: int | None = None
    bytes: int | None = None
    uploads_per_day: int | None = None

    @classmethod
    def of_settings(cls, settings: QuotaSettings) -> "Quotas":
        """Return the quotas of the settings, for organizations that have none of their own."""
        return cls(
            attachments=settings.quota_attachments,
            bytes=settings.quota_bytes,
            uploads_per_day=settings.quota_uploads_per_day,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(FromRow):
    """The usage and the quotas of an organization; `as_of` is by the database's clock.

    The counts are None until the organization has been counted for the first time.
    """

    organization_id: int
    attachments: int | None
    bytes: int | None
    uploads_today: int | None
    quotas: Quotas
    as_of: datetime


def translate(error: asyncpg.PostgresError) -> AttachmentsError | None:
    """Return the error for an SQLSTATE that hold_quota() of migration 0005 raises, else None."""
    if error.sqlstate == NOT_COUNTED:
        return NotCounted()
    if error.sqlstate == EXCEEDED:
        found = json.loads(str(error.detail))
        return QuotaExceeded(found["quota"], found["limit"], max(0, found["used"]))
    return None


COUNTERS = """
    SELECT coalesce(sum(u.attachments), 0)::bigint AS attachments,
           coalesce(sum(u.bytes), 0)::bigint AS bytes,
           coalesce(sum(u.uploads) FILTER (WHERE u.day = (now() AT TIME ZONE 'UTC')::date), 0)
               ::bigint AS uploads
    FROM usage AS u WHERE u.organization_id = $1
"""


async def find_usage(
    connection: Connection, organization_id: int, usual: Quotas
) -> tuple[Usage, bool] | None:
    """Return an organization's usage, and whether the usage is counted.

    Returns None if the organization does not exist. `usual` are the quotas of the settings. The
    cost does not depend on the number of attachments.
    """
    row = await connection.fetchrow(
        f"""
        SELECT o.id AS organization_id, o.usage_counted_at IS NOT NULL AS counted,
               {_counted("attachments")} AS attachments, {_counted("bytes")} AS bytes,
               {_counted("uploads")} AS uploads_today,
               {", ".join(f"o.{name}" for name in COLUMNS)}, now() AS as_of
        FROM organizations AS o CROSS JOIN ({COUNTERS}) AS c WHERE o.id = $1
        """,
        organization_id,
    )
    if row is None:
        return None
    return Usage.from_row(row, quotas=effective(row, usual)), bool(row["counted"])


def _counted(name: str) -> str:
    """Return SQL for a counter; its value is NULL until the organization is counted."""
    return f"CASE WHEN o.usage_counted_at IS NOT NULL THEN greatest(0, c.{name}) END"


@asynccontextmanager
async def growing(
    connection: Connection, organization_id: int, usual: Quotas | None
) -> AsyncIterator[None]:
    """Check an organization's quota of bytes after a block that may use more bytes.

    Call it within a transaction. Other transactions that check quotas of this organization wait
    until the transaction ends. Raises QuotaExceeded after the block if the block raised the usage
    above the quota. `usual` are the quotas of the settings; None means that nothing is checked.
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
    """Return the quotas that apply to an organization: its own, or else those of the settings.

    `from_row` cannot build Quotas, because each limit depends on a column and a setting.
    """

    def chosen(own: int | None, default: int | None) -> int | None:
        return default if own is None else None if own == UNLIMITED else own

    return Quotas(
        attachments=chosen(row["quota_attachments"], usual.attachments),
        bytes=chosen(row["quota_bytes"], usual.bytes),
        uploads_per_day=chosen(row["quota_uploads_per_day"], usual.uploads_per_day),
    )


async def set_quotas(
    connection: Connection, organization_id: int, quotas: Mapping[str, int | None]
) -> bool:
    """Set an organization's own quotas by column. Returns whether the organization exists.

    With None the quota of the settings applies. With UNLIMITED there is no quota. Other columns are
    not changed. May be repeated.
    """
    assert quotas.keys() <= set(COLUMNS)
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(quotas, 2))
    found = await connection.fetchval(
        f"UPDATE organizations SET {assignments} WHERE id = $1 RETURNING id",
        organization_id,
        *quotas.values(),
    )
    return found is not None


async def organization_ids(connection: Connection) -> list[int]:
    """List the ids of all organizations in ascending order."""
    return [row[0] for row in await connection.fetch("SELECT id FROM organizations ORDER BY id")]
