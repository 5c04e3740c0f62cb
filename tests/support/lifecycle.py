"""The SQL statements that change an attachment's state, with default arguments for tests."""

from typing import Any

import asyncpg

from shared import attachments, lifecycle, new_attachments
from shared.attachments import Attachment
from shared.due import Due, take_due
from shared.lifecycle import Claim, Outcome, Recorded, WakeUp
from shared.new_attachments import NewAttachment
from shared.notifications import UploadEvent
from shared.states import EndState

BUCKET = "bucket"
LEASE_S = 30.0
GRACE_S = 15.0
ATTEMPTS = 3


class Table:
    """The SQL statements under test for one database, with default arguments."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool = pool
        self.walked_to = 0

    async def backlog(self, *sizes: int) -> None:
        """Insert due uploads: `sizes[0]` for organization 1, `sizes[1]` for organization 2, and so
        on.
        """
        await self.pool.execute(
            "INSERT INTO attachments (organization_id, bucket, name, file_name, state, revision,"
            " due_at, policy_expires_at)"
            " SELECT place, $2, 'img.png', 'img.png', 'uploaded', 1,"
            " now() - interval '1 day' + n * interval '1 microsecond', now() + interval '1 hour'"
            " FROM unnest($1::integer[]) WITH ORDINALITY AS wanted (size, place),"
            " generate_series(1, size) AS n",
            sizes,
            BUCKET,
        )

    async def create(self, name: str = "img.png", *, organization_id: int = 1) -> Attachment:
        """Insert a pending attachment."""
        async with self.pool.acquire() as connection:
            (row,) = await new_attachments.create(
                connection,
                [NewAttachment(name=name)],
                organization_id=organization_id,
                creator_id=None,
                bucket=BUCKET,
                policy_ttl_s=3600,
                first_check_s=75,
            )
        return row

    async def uploaded(self, etag: str = "a", *, organization_id: int = 1) -> Attachment:
        """Insert an attachment whose upload has been recorded."""
        row = await self.create(organization_id=organization_id)
        assert await self.record(event(row, etag=etag))
        return await self.row(row)

    async def claimed(self, etag: str = "a") -> Claim:
        """Insert an attachment that a worker has claimed."""
        row = await self.uploaded(etag)
        claim = await self.claim(row)
        assert claim is not None
        return claim

    async def finished(
        self, etag: str = "a", state: EndState = "ready", **found: Any
    ) -> Attachment:
        """Insert an attachment whose processing has ended, by default in the state ready."""
        claim = await self.claimed(etag)
        assert await self.finish(claim, Outcome(state=state, etag=etag, **found))
        return await self.row(claim)

    async def record(self, *events: UploadEvent) -> list[WakeUp]:
        """Record upload events, and return the wake-ups that they require."""
        return (await self.recorded(*events)).woken

    async def recorded(self, *events: UploadEvent) -> Recorded:
        """Record upload events, and return all their effects."""
        async with self.pool.acquire() as connection:
            return await lifecycle.record_uploads(connection, events, publish_grace_s=GRACE_S)

    async def claim(self, row: Attachment, revision: int | None = None) -> Claim | None:
        """Claim a revision of an attachment; the default is the revision in `row`.

        Return None if the claim fails.
        """
        async with self.pool.acquire() as connection:
            return await lifecycle.claim(
                connection,
                row.id,
                row.revision if revision is None else revision,
                lease_s=LEASE_S,
            )

    async def finish(self, claim: Claim, outcome: Outcome, revision: int | None = None) -> bool:
        """Write an outcome for a claim, and return True if the claim was still valid.

        The default of `revision` is the revision that was claimed.
        """
        async with self.pool.acquire() as connection:
            return await lifecycle.finish(
                connection,
                claim,
                outcome,
                revision=claim.attachment.claimed_revision if revision is None else revision,
                next_check_s=75.0,
            )

    async def take_due(self, limit: int = 100, attempts: int = ATTEMPTS) -> list[Due]:
        """Run the sweep's statement, and return the due rows."""
        async with self.pool.acquire() as connection:
            sweep = await take_due(
                connection, limit=limit, lease_s=LEASE_S, attempts=attempts, after=self.walked_to
            )
        self.walked_to = sweep.walked_to
        return sweep.due

    async def run(self, function: Any, *values: Any, **named: Any) -> Any:
        """Call a function that runs a statement and has no method in this class."""
        async with self.pool.acquire() as connection:
            return await function(connection, *values, **named)

    async def row(self, of: Attachment | Claim) -> Attachment:
        """Read the current row of an attachment."""
        row_id = of.attachment.id if isinstance(of, Claim) else of.id
        async with self.pool.acquire() as connection:
            found = await attachments.find_any(connection, row_id)
        assert found is not None
        return found

    async def make_due(self, of: Attachment | Claim) -> None:
        """Set the due time of a row to now, so that the sweep finds the row."""
        row_id = of.attachment.id if isinstance(of, Claim) else of.id
        await self.set(row_id, "due_at = now() - interval '1 second'")

    async def set(self, row_id: int, what: str) -> None:
        """Change a row in a way that no statement of the service does; `what` is SQL."""
        await self.pool.execute(f"UPDATE attachments SET {what} WHERE id = $1", row_id)

    async def due_in(self, row: Attachment) -> float | None:
        """Return the seconds until a row is due, by the clock of the database."""
        found: float | None = await self.pool.fetchval(
            "SELECT extract(epoch FROM due_at - now())::float8 FROM attachments WHERE id = $1",
            row.id,
        )
        return found


def event(row: Attachment, etag: str | None = None, **more: Any) -> UploadEvent:
    """Make an upload event for an attachment's original."""
    return UploadEvent(**{"bucket": BUCKET, "key": row.key, "etag": etag, **more})
