"""The life of an attachment in guarded statements, on a real PostgreSQL."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import attachments, lifecycle, new_attachments
from shared.attachments import Attachment
from shared.database import Connection
from shared.due import SWEEP_WINDOW, Due, Duty, take_due
from shared.facts import FACTS, Facts
from shared.lifecycle import Claim, Outcome, Recorded, WakeUp
from shared.new_attachments import NewAttachment
from shared.notifications import UploadEvent
from shared.states import EndState
from tests.support.databases import clone_database
from tests.support.stack import Stack

BUCKET = "bucket"
LEASE_S = 30.0
GRACE_S = 15.0
ATTEMPTS = 3


class Table:
    """The statements under test with their usual arguments, over one database."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool = pool
        self.walked_to = 0

    async def backlog(self, *sizes: int) -> None:
        """Fill in due uploads, so many of organization 1, of organization 2, and so on."""
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
        """Insert an attachment of which an upload is recorded."""
        row = await self.create(organization_id=organization_id)
        assert await self.record(event(row, etag=etag))
        return await self.row(row)

    async def claimed(self, etag: str = "a") -> Claim:
        """Insert an attachment that is being processed."""
        row = await self.uploaded(etag)
        claim = await self.claim(row)
        assert claim is not None
        return claim

    async def finished(
        self, etag: str = "a", state: EndState = "ready", **found: Any
    ) -> Attachment:
        """Insert an attachment that is done."""
        claim = await self.claimed(etag)
        assert await self.finish(claim, Outcome(state=state, etag=etag, **found))
        return await self.row(claim)

    async def record(self, *events: UploadEvent) -> list[WakeUp]:
        """Record events; returns whom to wake."""
        return (await self.recorded(*events)).woken

    async def recorded(self, *events: UploadEvent) -> Recorded:
        """Record events, and tell all that came of them."""
        async with self.pool.acquire() as connection:
            return await lifecycle.record_uploads(connection, events, publish_grace_s=GRACE_S)

    async def claim(self, row: Attachment, revision: int | None = None) -> Claim | None:
        """Claim a revision; the one that was read, unless another is given."""
        async with self.pool.acquire() as connection:
            return await lifecycle.claim(
                connection,
                row.id,
                row.revision if revision is None else revision,
                lease_s=LEASE_S,
            )

    async def finish(self, claim: Claim, outcome: Outcome, revision: int | None = None) -> bool:
        """Finish a claim, for the revision that it was made for unless another is given."""
        async with self.pool.acquire() as connection:
            return await lifecycle.finish(
                connection,
                claim,
                outcome,
                revision=claim.attachment.claimed_revision if revision is None else revision,
                next_check_s=75.0,
            )

    async def take_due(self, limit: int = 100, attempts: int = ATTEMPTS) -> list[Due]:
        """Sweep."""
        async with self.pool.acquire() as connection:
            sweep = await take_due(
                connection, limit=limit, lease_s=LEASE_S, attempts=attempts, after=self.walked_to
            )
        self.walked_to = sweep.walked_to
        return sweep.due

    async def run(self, function: Any, *values: Any, **named: Any) -> Any:
        """Run another statement."""
        async with self.pool.acquire() as connection:
            return await function(connection, *values, **named)

    async def row(self, of: Attachment | Claim) -> Attachment:
        """Read a row as it is now."""
        row_id = of.attachment.id if isinstance(of, Claim) else of.id
        async with self.pool.acquire() as connection:
            found = await attachments.find_any(connection, row_id)
        assert found is not None
        return found

    async def make_due(self, of: Attachment | Claim) -> None:
        """Let the time come at which the sweep looks at a row."""
        row_id = of.attachment.id if isinstance(of, Claim) else of.id
        await self.set(row_id, "due_at = now() - interval '1 second'")

    async def set(self, row_id: int, what: str) -> None:
        """Change a row as no statement under test does."""
        await self.pool.execute(f"UPDATE attachments SET {what} WHERE id = $1", row_id)

    async def due_in(self, row: Attachment) -> float | None:
        """Tell in how many seconds a row is due, by the database's clock."""
        found: float | None = await self.pool.fetchval(
            "SELECT extract(epoch FROM due_at - now())::float8 FROM attachments WHERE id = $1",
            row.id,
        )
        return found


@pytest_asyncio.fixture(scope="module")
async def pool(stack: Stack) -> "AsyncIterator[asyncpg.Pool[asyncpg.Record]]":
    """Connections enough to do things side by side, to a database of this module's own."""
    database_url = await clone_database(stack)
    async with asyncpg.create_pool(database_url, min_size=10, max_size=10) as pool:
        yield pool


@pytest_asyncio.fixture
async def table(pool: "asyncpg.Pool[asyncpg.Record]") -> Table:
    """An empty table."""
    await pool.execute("DELETE FROM attachments")
    return Table(pool)


def event(row: Attachment, etag: str | None = None, **more: Any) -> UploadEvent:
    """Make an event of an attachment's original."""
    return UploadEvent(**{"bucket": BUCKET, "key": row.key, "etag": etag, **more})


# --- record_uploads ---------------------------------------------------------------------------


async def test_an_event_makes_a_pending_attachment_uploaded(table: Table) -> None:
    row = await table.create()
    (woken,) = await table.record(event(row, "a", version_id="v1", sequencer="10"))
    after = await table.row(row)
    assert woken == WakeUp(attachment_id=row.id, organization_id=1, revision=1)
    assert (after.state, after.revision, after.claimed_revision) == ("uploaded", 1, 0)
    assert (after.etag, after.version_id, after.sequencer) == ("a", "v1", "10")
    assert after.uploaded_at is not None
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 0 < due_in <= GRACE_S


@pytest.mark.parametrize(
    ("known", "told", "counts"),
    [
        ("10", "0F", False),
        ("10", "10", False),
        ("10", "11", True),
        ("10", "1", False),  # padded it is 10
        ("1", "10", False),
        ("1", "11", True),
        ("FF", "0FF0", False),
        ("9", "A", True),
        (None, "00", True),
        ("10", None, True),  # another etag without a sequencer: the store is believed
    ],
)
async def test_row57_only_a_newer_sequencer_counts(
    table: Table, known: str | None, told: str | None, counts: bool
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer=known))
    woken = await table.record(event(row, "b", sequencer=told))
    after = await table.row(row)
    assert bool(woken) == counts
    assert (after.etag, after.revision) == (("b", 2) if counts else ("a", 1))
    if counts:
        assert after.sequencer == (told or known)


@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_row56_an_event_of_the_object_we_know_changes_nothing(
    table: Table, state: Any
) -> None:
    row = await table.uploaded("a")
    if state != "uploaded":
        claim = await table.claim(row)
        assert claim is not None
        if state != "processing":
            assert await table.finish(claim, Outcome(state=state, etag="a"))
    before = await table.row(row)
    for _ in range(10):
        assert await table.record(event(row, "a")) == []
    assert await table.row(row) == before


@pytest.mark.parametrize("known", ["0A", None], ids=["known sequencer", "no known sequencer"])
@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_row57_58_a_newer_event_counts_that_tells_no_etag(
    table: Table, state: str, known: str | None
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer=known))
    await table.set(row.id, f"state = '{state}'")
    told = event(row, sequencer="0B")
    assert (await table.recorded(told)).changed == [row.id]
    after = await table.row(row)
    assert (after.revision, after.sequencer) == (2, "0B")
    assert after.state == ("processing" if state == "processing" else "uploaded")
    for repeated in (told, event(row, sequencer="0A"), event(row, "a", sequencer="0A")):
        assert await table.recorded(repeated) == Recorded(changed=[], woken=[])
    assert await table.row(row) == after


async def test_what_changes_is_told_apart_from_what_is_processed_now(table: Table) -> None:
    busy, done = (await table.claimed("a")).attachment, await table.finished("a")
    new, waiting, idle = await table.create(), await table.uploaded("a"), await table.uploaded("a")
    recorded = await table.recorded(
        event(busy, "b"),
        event(done, removed=True),
        event(new, "a"),
        event(waiting, "b"),
        event(idle, "a"),
    )
    assert set(recorded.changed) == {busy.id, done.id, new.id, waiting.id}
    assert {woken.attachment_id for woken in recorded.woken} == {new.id, waiting.id}


async def test_the_same_etag_of_another_version_is_another_object(table: Table) -> None:
    row = await table.create()
    await table.record(event(row, "a", version_id="v1"))
    assert await table.record(event(row, "a", version_id="v1")) == []
    assert len(await table.record(event(row, "a", version_id="v2"))) == 1
    assert (await table.row(row)).version_id == "v2"


@pytest.mark.parametrize("state", ["failed", "expired", "pending"])
async def test_an_object_we_gave_up_on_is_taken_up_again(table: Table, state: str) -> None:
    row = await table.uploaded("a")
    await table.set(row.id, f"state = '{state}', reason = 'missing', due_at = NULL")
    (woken,) = await table.record(event(row, "a"))
    after = await table.row(row)
    assert (after.state, after.revision, after.reason) == ("uploaded", woken.revision, None)


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
@pytest.mark.parametrize("state", ["ready", "rejected"])
async def test_row58_59_a_vague_hint_about_what_is_done_asks_the_store(
    table: Table, state: EndState, hint: dict[str, Any]
) -> None:
    row = await table.finished("a", state, facts=Facts(size=5))
    assert await table.record(event(row, **hint)) == []
    after = await table.row(row)
    assert replace(after, due_at=row.due_at) == row
    assert [due.duty for due in await table.take_due()] == [Duty.CHECK]


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
async def test_a_vague_hint_about_what_will_be_read_anyway_changes_nothing(
    table: Table, hint: dict[str, Any]
) -> None:
    row = await table.uploaded("a")
    before = await table.row(row)
    assert await table.record(event(row, **hint)) == []
    assert await table.row(row) == before


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
async def test_a_vague_hint_about_what_is_being_read_makes_its_worker_look_again(
    table: Table, hint: dict[str, Any]
) -> None:
    claim = await table.claimed()
    before = await table.row(claim)
    assert await table.record(event(before, **hint)) == []
    assert await table.row(claim) == replace(before, revision=before.revision + 1)
    outcome = Outcome(state="ready", etag="a")
    assert not await table.finish(claim, outcome)
    assert await table.finish(claim, outcome, revision=before.revision + 1)


async def test_a_vague_hint_is_enough_for_what_waits(table: Table) -> None:
    row = await table.create()
    (woken,) = await table.record(event(row))
    after = await table.row(row)
    assert (after.state, after.revision, after.etag) == ("uploaded", woken.revision, None)


async def test_row59_a_removal_wakes_nobody_but_the_sweep(table: Table) -> None:
    row = await table.create()
    assert await table.record(event(row, removed=True, sequencer="99")) == []
    after = await table.row(row)
    assert (after.state, after.revision, after.sequencer) == ("pending", 0, None)
    assert [due.duty for due in await table.take_due()] == [Duty.CHECK]


async def test_while_processing_a_newer_upload_only_raises_the_revision(table: Table) -> None:
    claim = await table.claimed("a")
    before = await table.row(claim)
    assert await table.record(event(before, "b")) == []
    after = await table.row(claim)
    assert (after.state, after.revision, after.etag) == ("processing", 2, "b")
    assert (after.claimed_revision, after.attempt) == (1, 1)
    assert after.due_at == before.due_at


async def test_an_upload_after_the_end_forgets_thumbnail_and_reason(table: Table) -> None:
    row = await table.finished("a", thumbnail_name="img.png")
    assert row.resized
    assert await table.record(event(row, "b"))
    after = await table.row(row)
    assert (after.state, after.resized, after.reason) == ("uploaded", False, None)
    assert after.thumbnail_name == "img.png"  # it is still in the store


def stamp(row: Attachment) -> int:
    """Give the whole second that addresses of a file carry."""
    assert row.uploaded_at is not None
    return int(row.uploaded_at.timestamp())


async def test_uploads_in_one_second_have_stamps_of_their_own(table: Table) -> None:
    row = await table.uploaded("a")
    stamps = [stamp(row)]
    for etag in "bcdef":
        await table.record(event(row, etag))
        stamps.append(stamp(await table.row(row)))
        await table.record(event(row, etag))
        assert stamp(await table.row(row)) == stamps[-1]  # the same upload, told twice
    assert sorted(set(stamps)) == stamps

    await table.pool.execute(
        "UPDATE attachments SET uploaded_at = now() - interval '1 hour' WHERE id = $1", row.id
    )
    before = stamp(await table.row(row))
    await table.record(event(row, "g"))
    assert stamp(await table.row(row)) >= before + 3600  # the time of the upload, if it is later


async def test_an_upload_whose_event_comes_after_its_outcome_has_a_stamp_of_its_own(
    table: Table,
) -> None:
    claim = await table.claimed("a")
    before = stamp(claim.attachment)
    assert await table.finish(claim, Outcome(state="ready", etag="b"))  # replaced meanwhile
    after = stamp(await table.row(claim))
    assert after > before
    assert await table.record(event(claim.attachment, "b")) == []
    assert stamp(await table.row(claim)) == after

    for etag in ("a", None):  # the object that is known, and one that could not be read
        claim = await table.claimed("a")
        assert await table.finish(claim, Outcome(state="failed", etag=etag))
        assert stamp(await table.row(claim)) == stamp(claim.attachment)


@pytest.mark.parametrize(
    "strange",
    [
        {"bucket": "another"},
        {"key": "attachments/files/000/000/001/original/other.png"},
        {"key": "attachments/files/999/999/999/original/img.png"},
        {"key": "attachments/files/1/original/img.png"},
        {"key": "somewhere/else"},
        {"key": ""},
    ],
    ids=["bucket", "name", "id", "partition", "prefix", "empty"],
)
async def test_row52_53_events_of_what_is_not_ours_change_nothing(
    table: Table, strange: dict[str, str]
) -> None:
    row = await table.create()
    assert await table.record(event(row, "a", **strange)) == []
    assert await table.row(row) == row


async def test_a_name_must_be_the_one_that_was_issued(table: Table) -> None:
    row = await table.create()
    key = row.key.replace("img.png", "img.jpg")
    assert await table.record(event(row, "a", key=key)) == []


async def test_what_is_deleted_is_never_uploaded(table: Table) -> None:
    row = await table.create()
    assert await table.run(attachments.delete, row.id, 1, retention_s=60)
    before = await table.row(row)
    assert await table.record(event(row, "a")) == []
    assert await table.row(row) == before


async def test_row61_many_events_are_one_statement_and_the_strange_ones_are_left(
    table: Table,
) -> None:
    rows = [await table.create() for _ in range(20)]
    events = [event(row, "a") for row in rows]
    woken = await table.record(*events, event(rows[0], "a", bucket="x"))
    assert {item.attachment_id for item in woken} == {row.id for row in rows}
    assert await table.record() == []


async def test_shuffled_events_leave_the_newest(table: Table) -> None:
    row = await table.create()
    told = [event(row, f"e{number}", sequencer=f"{number:04X}") for number in range(1, 9)] * 10
    random.Random(3).shuffle(told)
    await asyncio.gather(*(table.record(item) for item in told))
    after = await table.row(row)
    assert (after.etag, after.sequencer) == ("e8", "0008")
    assert after.revision <= 8


# --- claims -----------------------------------------------------------------------------------


async def test_a_claim_is_given_once(table: Table) -> None:
    row = await table.uploaded()
    claim = await table.claim(row)
    assert claim is not None
    assert claim.fence == (row.id, 1, 1)
    assert claim.attachment.state == "processing"
    due_in = await table.due_in(row)
    assert due_in is not None
    assert GRACE_S < due_in <= LEASE_S
    assert await table.claim(row) is None


async def test_of_twenty_that_claim_at_once_one_wins(table: Table) -> None:
    for _ in range(10):
        row = await table.uploaded()
        claims = await asyncio.gather(*(table.claim(row) for _ in range(20)))
        assert sum(claim is not None for claim in claims) == 1


async def test_of_claims_and_sweeps_at_once_one_wins(table: Table) -> None:
    for _ in range(10):
        row = await table.uploaded()
        await table.make_due(row)
        results = await asyncio.gather(
            *(table.claim(row) for _ in range(5)), *(table.take_due() for _ in range(5))
        )
        assert sum(bool(result) for result in results) == 1
        await table.set(row.id, "due_at = NULL, state = 'failed'")


async def test_an_older_or_unknown_revision_is_not_claimed(table: Table) -> None:
    row = await table.uploaded("a")
    await table.record(event(row, "b"))
    assert await table.claim(row, revision=1) is None
    assert await table.claim(row, revision=3) is None
    assert await table.claim(row, revision=2) is not None


async def test_later_attempts_belong_to_the_sweep(table: Table) -> None:
    claim = await table.claimed()
    assert await table.run(lifecycle.release, claim, delay_s=60.0) == 1
    assert await table.claim(claim.attachment) is None
    assert (await table.row(claim)).state == "uploaded"


@pytest.mark.parametrize("state", ["pending", "ready", "rejected", "failed", "expired"])
async def test_only_what_is_uploaded_can_be_claimed(table: Table, state: str) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}'")
    assert await table.claim(row) is None


async def test_what_is_deleted_cannot_be_claimed(table: Table) -> None:
    row = await table.uploaded()
    assert await table.run(attachments.delete, row.id, 1, retention_s=60)
    assert await table.claim(row) is None


# --- fencing ----------------------------------------------------------------------------------


def writes(claim: Claim) -> dict[str, Any]:
    """Give every write that a worker makes under its claim."""
    revision = claim.attachment.claimed_revision
    outcome = Outcome(state="ready", etag="x", facts=Facts(size=1), thumbnail_name="img.png")

    async def renew(connection: Connection) -> bool:
        return bool(await lifecycle.renew(connection, [claim], lease_s=999.0))

    return {
        "renew": renew,
        "announce": lambda connection: lifecycle.announce_thumbnail(
            connection, claim, "stray.png", lease_s=999.0
        ),
        "finish": lambda connection: lifecycle.finish(
            connection, claim, outcome, revision=revision, next_check_s=75.0
        ),
        "release": lambda connection: lifecycle.release(connection, claim, delay_s=999.0),
        "missing": lambda connection: lifecycle.mark_missing(
            connection, claim, revision=revision, next_check_s=999.0
        ),
    }


@pytest.mark.parametrize("write", ["renew", "announce", "finish", "release", "missing"])
@pytest.mark.parametrize(
    "loss", ["taken over", "given back", "finished", "failed", "deleted", "given again"]
)
async def test_who_lost_the_claim_changes_nothing(table: Table, write: str, loss: str) -> None:
    claim = await table.claimed()
    match loss:
        case "taken over":
            await table.make_due(claim)
            (due,) = await table.take_due()
            assert due.attachment.attempt == 2
        case "given back":
            await table.run(lifecycle.release, claim, delay_s=60.0)
        case "finished":
            assert await table.finish(claim, Outcome(state="ready", etag="a"))
        case "failed":
            await table.make_due(claim)
            await table.take_due(attempts=1)
        case "deleted":
            assert await table.run(attachments.delete, claim.attachment.id, 1, retention_s=60)
        case "given again":  # the row was lost, and its id is another organization's, as far
            await table.set(claim.attachment.id, "organization_id = 2")
    before = await table.row(claim)
    assert not await table.run(writes(claim)[write])
    assert await table.row(claim) == before


@pytest.mark.parametrize("write", ["renew", "announce", "finish", "release", "missing"])
async def test_who_holds_the_claim_may_write(table: Table, write: str) -> None:
    claim = await table.claimed()
    before = await table.row(claim)
    assert await table.run(writes(claim)[write])
    assert await table.row(claim) != before


async def test_a_claim_of_an_earlier_round_is_worth_nothing_in_the_next(table: Table) -> None:
    old = await table.claimed("a")
    assert await table.finish(old, Outcome(state="ready", etag="a"))
    await table.record(event(old.attachment, "b"))
    new = await table.claim(await table.row(old))
    assert new is not None
    assert (new.attachment.attempt, old.attachment.attempt) == (1, 1)
    before = await table.row(new)
    for write in writes(old).values():
        assert not await table.run(write)
    assert await table.row(new) == before


async def test_renewing_lengthens_what_holds_and_names_the_revision(table: Table) -> None:
    held, lost, replaced = await table.claimed(), await table.claimed(), await table.claimed()
    await table.make_due(lost)
    await table.take_due()
    await table.record(event(replaced.attachment, "b"))
    kept = await table.run(lifecycle.renew, [held, lost, replaced], lease_s=500.0)
    assert kept == {held.attachment.id: 1, replaced.attachment.id: 2}
    assert await table.run(lifecycle.renew, [], lease_s=500.0) == {}
    due_in = await table.due_in(held.attachment)
    assert due_in is not None
    assert LEASE_S < due_in <= 500


async def test_an_outcome_of_what_was_replaced_is_refused(table: Table) -> None:
    claim = await table.claimed("a")
    await table.record(event(claim.attachment, "b"))
    before = await table.row(claim)
    outcome = Outcome(state="ready", etag="a", thumbnail_name="img.png")
    assert not await table.finish(claim, outcome)
    assert await table.row(claim) == before
    assert await table.finish(claim, replace(outcome, etag="b"), revision=2)
    after = await table.row(claim)
    assert (after.state, after.etag, after.resized) == ("ready", "b", True)


async def test_an_outcome_is_written_whole(table: Table) -> None:
    claim = await table.claimed("a")
    outcome = Outcome(
        state="ready",
        etag="a",
        version_id="v",
        thumbnail_name="img.png",
        facts=Facts(
            content_type="image/png",
            size=7,
            width=3,
            height=2,
            pages=5,
            checksum_sha256="ab",
            carries_more=True,
        ),
    )
    assert await table.finish(claim, outcome)
    row = await table.row(claim)
    assert {name: getattr(row, name) for name in FACTS} == asdict(outcome.facts)
    assert (row.state, row.etag, row.version_id) == ("ready", "a", "v")
    assert row.resized
    assert row.processed_at is not None
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 70 < due_in <= 75  # an overwrite may have come since, with no event
    await table.run(lifecycle.settle_unchanged, row)
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 3600 < due_in <= 3660  # the last look after the policy's end


async def test_the_soon_look_is_no_later_than_the_last(table: Table) -> None:
    claim = await table.claimed("a")
    await table.set(claim.attachment.id, "policy_expires_at = now() - interval '50 seconds'")
    assert await table.finish(claim, Outcome(state="ready", etag="a"))
    due_in = await table.due_in(await table.row(claim))
    assert due_in is not None
    assert due_in <= 10


async def test_nothing_is_due_when_the_policy_is_over(table: Table) -> None:
    claim = await table.claimed("a")
    await table.set(claim.attachment.id, "policy_expires_at = now() - interval '1 hour'")
    assert await table.finish(claim, Outcome(state="ready", etag="a"))
    assert (await table.row(claim)).due_at is None


@pytest.mark.parametrize("state", ["rejected", "failed"])
async def test_resized_is_never_true_without_a_thumbnail(table: Table, state: EndState) -> None:
    claim = await table.claimed("a")
    await table.run(lifecycle.announce_thumbnail, claim, "img.png", lease_s=30.0)
    assert await table.finish(claim, Outcome(state=state, reason="too_large", etag="a"))
    row = await table.row(claim)
    assert (row.state, row.reason, row.resized) == (state, "too_large", False)
    # of what failed a thumbnail may lie there: it must be found by the purge
    assert row.thumbnail_name == ("img.png" if state == "failed" else None)


async def test_a_claim_given_back_comes_up_when_its_time_has_come(table: Table) -> None:
    claim = await table.claimed()
    await table.run(lifecycle.release, claim, delay_s=60.0, reason="store_unavailable")
    row = await table.row(claim)
    assert (row.state, row.reason) == ("uploaded", "store_unavailable")
    assert await table.take_due() == []
    await table.make_due(row)
    (due,) = await table.take_due()
    assert (due.duty, due.attachment.attempt) == (Duty.PROCESS, 2)


@pytest.mark.parametrize(
    ("etag", "alive", "state", "reason"),
    [
        ("a", True, "failed", "missing"),
        ("a", False, "failed", "missing"),
        (None, True, "pending", None),
        (None, False, "failed", "missing"),
    ],
)
async def test_row87_what_is_not_there_is_missing(
    table: Table, etag: str | None, alive: bool, state: str, reason: str | None
) -> None:
    row = await table.create()
    await table.record(event(row, etag))
    claim = await table.claim(await table.row(row))
    assert claim is not None
    if not alive:
        await table.set(row.id, "policy_expires_at = now() - interval '1 hour'")
    found = await table.run(lifecycle.mark_missing, claim, revision=1, next_check_s=75.0)
    after = await table.row(row)
    assert (found, after.reason) == (state, reason)
    assert after.state == state
    assert (after.due_at is not None) == alive
    assert (after.uploaded_at is None) == (state == "pending")


async def test_nothing_is_told_of_an_object_that_went_before_its_successor_came(
    table: Table,
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer="0A"))
    await table.set(row.id, "state = 'ready', size = 5, content_type = 'image/png'")
    await table.record(event(row, None, sequencer="0B"))  # newer, but of no known object
    claim = await table.claim(await table.row(row))
    assert claim is not None
    await table.run(lifecycle.mark_missing, claim, revision=2, next_check_s=75.0)
    after = await table.row(row)
    assert (after.state, after.reason) == ("failed", "missing")
    assert (after.size, after.content_type) == (None, None)


async def test_missing_is_not_said_of_what_was_replaced(table: Table) -> None:
    claim = await table.claimed("a")
    await table.record(event(claim.attachment, "b"))
    assert not await table.run(lifecycle.mark_missing, claim, revision=1, next_check_s=75.0)
    assert (await table.row(claim)).state == "processing"


# --- the sweep --------------------------------------------------------------------------------


async def test_a_lease_that_is_over_is_claimed_again(table: Table) -> None:
    claim = await table.claimed()
    assert await table.take_due() == []
    for attempt in (2, 3):
        await table.make_due(claim)
        (due,) = await table.take_due()
        assert due.duty is Duty.PROCESS
        assert Claim(attachment=due.attachment).fence == (claim.attachment.id, 1, attempt)
        assert await table.take_due() == []


async def test_when_the_attempts_are_used_up_it_has_failed(table: Table) -> None:
    claim = await table.claimed()
    await table.set(claim.attachment.id, f"attempt = {ATTEMPTS}")
    await table.make_due(claim)
    (due,) = await table.take_due()
    assert due.duty is Duty.GIVEN_UP
    row = await table.row(claim)
    assert (row.state, row.reason) == ("failed", "attempts_used_up")
    assert row.processed_at is not None
    await table.set(row.id, "due_at = NULL")
    assert await table.take_due() == []


async def test_a_reason_that_is_known_outlives_the_last_attempt(table: Table) -> None:
    claim = await table.claimed()
    await table.run(lifecycle.release, claim, delay_s=0.0, reason="store_unavailable")
    await table.set(claim.attachment.id, f"attempt = {ATTEMPTS}")
    await table.take_due()
    assert (await table.row(claim)).reason == "store_unavailable"


async def test_a_newer_upload_has_all_its_attempts(table: Table) -> None:
    claim = await table.claimed("a")
    await table.set(claim.attachment.id, f"attempt = {ATTEMPTS}")
    await table.record(event(claim.attachment, "b"))
    await table.make_due(claim)
    (due,) = await table.take_due()
    assert due.duty is Duty.PROCESS
    assert Claim(attachment=due.attachment).fence == (claim.attachment.id, 2, 1)


@pytest.mark.parametrize("state", ["pending", "ready", "rejected", "failed", "expired"])
async def test_of_what_is_not_at_work_the_store_is_asked(table: Table, state: str) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}'")
    await table.make_due(row)
    (due,) = await table.take_due()
    assert (due.duty, due.attachment.state) == (Duty.CHECK, state)
    assert await table.take_due() == []  # put off by a lease
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 0 < due_in <= LEASE_S


@pytest.mark.parametrize("state", ["pending", "uploaded", "ready"])
async def test_what_is_deleted_is_purged(table: Table, state: str) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}', deleted_at = now()")
    await table.make_due(row)
    (due,) = await table.take_due()
    assert due.duty is Duty.PURGE
    await table.run(lifecycle.settle_purged, row.id)
    after = await table.row(row)
    assert (after.due_at, after.thumbnail_name, after.resized) == (None, None, False)


async def test_sweeps_side_by_side_take_different_rows(table: Table) -> None:
    rows = [await table.uploaded() for _ in range(60)]
    await table.pool.execute("UPDATE attachments SET due_at = now() - interval '1 second'")
    taken = await asyncio.gather(*(table.take_due(limit=10) for _ in range(9)))
    again = [await table.take_due(limit=10) for _ in range(7)]
    ids = [due.attachment.id for sweep in (*taken, *again) for due in sweep]
    assert sorted(ids) == sorted(row.id for row in rows)


async def test_a_sweep_passes_over_what_another_is_taking(table: Table) -> None:
    mine, other = await table.uploaded(), await table.uploaded()
    await table.pool.execute("UPDATE attachments SET due_at = now() - interval '1 second'")
    async with table.pool.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT FROM attachments WHERE id = $1 FOR UPDATE", mine.id)
        (due,) = await asyncio.wait_for(table.take_due(), 5)
        assert due.attachment.id == other.id
    assert [due.attachment.id for due in await table.take_due()] == [mine.id]


@pytest.mark.parametrize("many", [300, SWEEP_WINDOW, 2_000, 20_000])
@pytest.mark.parametrize("limit", [4, 32])
async def test_an_organization_with_many_due_rows_delays_no_other(
    table: Table, many: int, limit: int
) -> None:
    await table.backlog(many)
    few = await table.uploaded(organization_id=2)
    await table.make_due(few)  # after all those of organization 1
    taken = await table.take_due(limit=limit)
    assert len(taken) == limit
    assert few.id in {due.attachment.id for due in taken}


@pytest.mark.parametrize("size", [100, 3_000])
async def test_organizations_have_equal_shares(table: Table, size: int) -> None:
    await table.backlog(size, 8 * size, 2 * size)
    for _ in range(3):
        assert shares(await table.take_due(limit=30)) == {1: 10, 2: 10, 3: 10}
    # With fewer places than organizations, the next sweep goes on where this one stopped.
    taken = [due for _ in range(6) for due in await table.take_due(limit=1)]
    assert shares(taken) == {1: 2, 2: 2, 3: 2}


async def test_what_one_organization_leaves_the_others_share(table: Table) -> None:
    await table.backlog(2, 3_000, 3_000)
    assert shares(await table.take_due(limit=30)) == {1: 2, 2: 14, 3: 14}


async def test_a_walk_goes_on_where_the_last_one_stopped(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.due.SWEEP_WALK", 5)
    await table.backlog(*[1] * 20, 3_000)
    await table.pool.execute(
        "UPDATE attachments SET due_at = now() + (CASE WHEN organization_id = 13 THEN -1 ELSE 1"
        " END) * interval '1 minute' WHERE organization_id <= 20"
    )
    sweeps = [await table.take_due(limit=4) for _ in range(5)]
    assert [shares(sweep).get(13, 0) for sweep in sweeps] == [0, 0, 1, 0, 0]
    assert {len(sweep) for sweep in sweeps} == {4}  # no place is left free meanwhile
    assert table.walked_to == 4  # all round, and on


async def test_sweeps_over_a_backlog_take_different_rows_and_all_of_them(table: Table) -> None:
    await table.backlog(1_500, 20, 300)
    ids: list[int] = []
    while taken := await asyncio.gather(*(table.take_due(limit=50) for _ in range(4))):
        if not any(taken):
            break
        ids += [due.attachment.id for sweep in taken for due in sweep]
    assert len(ids) == len(set(ids)) == 1_820


async def test_a_row_that_is_taken_while_a_sweep_looks_is_passed_over(table: Table) -> None:
    """Rows are ranked as the statement found them; what is locked is judged as it is then."""
    rows = [await table.uploaded() for _ in range(200)]
    await table.pool.execute("UPDATE attachments SET due_at = now() - interval '1 second'")
    given: list[Claim | None] = []
    swept: list[Due] = []

    async def claims() -> None:
        given.extend([await table.claim(row) for row in rows])

    async def sweeps() -> None:
        for _ in range(100):
            swept.extend(await table.take_due(limit=3))

    await asyncio.gather(claims(), sweeps())
    ids = [claim.attachment.id for claim in given if claim is not None]
    ids += [due.attachment.id for due in swept]
    assert sorted(ids) == sorted(row.id for row in rows)
    assert all(due.attachment.attempt == 1 for due in swept)


def shares(taken: list[Due]) -> Counter[int]:
    """Count what was taken by organization."""
    return Counter(due.attachment.organization_id for due in taken)


# --- what comes after -------------------------------------------------------------------------


async def test_one_more_round_can_be_asked_for(table: Table) -> None:
    row = await table.uploaded()
    await table.set(row.id, "state = 'ready', resized = true, thumbnail_name = 'img.png'")
    assert await table.run(lifecycle.process_again, row.id)
    after = await table.row(row)
    assert (after.state, after.revision, after.resized) == ("uploaded", 2, False)
    assert [due.duty for due in await table.take_due()] == [Duty.PROCESS]


async def test_one_more_round_waits_for_who_is_at_work(table: Table) -> None:
    claim = await table.claimed()
    before = await table.row(claim)
    assert await table.run(lifecycle.process_again, claim.attachment.id)
    after = await table.row(claim)
    assert after == replace(before, thumbnail_spoiled=True)
    outcome = Outcome(state="ready", etag="a", thumbnail_name="img.png")
    assert not await table.finish(claim, outcome)
    assert await table.run(lifecycle.announce_thumbnail, claim, "img.png", lease_s=30)
    assert await table.finish(claim, outcome)


async def test_a_spoiled_thumbnail_is_no_matter_to_who_has_none(table: Table) -> None:
    claim = await table.claimed()
    assert await table.run(lifecycle.process_again, claim.attachment.id)
    assert await table.finish(claim, Outcome(state="ready", etag="a"))


async def test_an_attempt_that_was_only_stopped_does_not_count(table: Table) -> None:
    claim = await table.claimed()
    assert await table.run(lifecycle.release, claim, delay_s=0, counted=False)
    (due,) = await table.take_due()
    assert (due.duty, due.attachment.attempt) == (Duty.PROCESS, 1)


async def test_a_newer_upload_does_not_wait_for_an_older_ones_backoff(table: Table) -> None:
    claim = await table.claimed()
    await table.record(event(await table.row(claim), etag="b"))
    assert await table.run(lifecycle.release, claim, delay_s=900)
    (due,) = await table.take_due()
    assert (due.duty, due.attachment.attempt) == (Duty.PROCESS, 1)


@pytest.mark.parametrize(
    "state", ["pending", "expired", "deleted", "uploaded", "ready", "rejected", "failed"]
)
async def test_there_is_no_further_round_for_what_promises_no_thumbnail(
    table: Table, state: Any
) -> None:
    row = await table.create()
    await table.set(row.id, "deleted_at = now()" if state == "deleted" else f"state = '{state}'")
    before = await table.row(row)
    assert not await table.run(lifecycle.process_again, row.id)
    assert await table.row(row) == before


@pytest.mark.parametrize(
    ("state", "alive", "after", "due"),
    [
        ("pending", True, "pending", True),
        ("pending", False, "expired", True),  # looked at once more, for a late upload
        ("expired", False, "expired", False),
        ("ready", True, "failed", True),
        ("ready", False, "failed", False),
        ("rejected", False, "failed", False),
        ("failed", False, "failed", False),
    ],
)
async def test_what_the_store_does_not_have_is_settled(
    table: Table, state: str, alive: bool, after: str, due: bool
) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}', resized = true")
    if not alive:
        await table.set(row.id, "policy_expires_at = now() - interval '1 hour'")
    seen = await table.row(row)
    assert await table.run(lifecycle.settle_missing, seen, next_check_s=75.0) == after
    now = await table.row(row)
    assert (now.state, now.resized) == (after, False)
    assert now.reason == ("missing" if after == "failed" else None)
    assert (now.due_at is not None) == due


async def test_the_store_is_asked_for_the_last_time_soon_after_the_policys_end(
    table: Table,
) -> None:
    row = await table.create()
    await table.set(row.id, "policy_expires_at = now() + interval '10 seconds'")
    seen = await table.row(row)
    assert await table.run(lifecycle.settle_missing, seen, next_check_s=1000.0) == "pending"
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 10 < due_in <= 70


@pytest.mark.parametrize("settle", ["missing", "unchanged"])
async def test_nothing_is_settled_that_has_moved(table: Table, settle: str) -> None:
    seen = await table.finished("a")
    await table.record(event(seen, "b"))
    before = await table.row(seen)
    if settle == "missing":
        assert await table.run(lifecycle.settle_missing, seen, next_check_s=75.0) is None
    else:
        await table.run(lifecycle.settle_unchanged, seen)
    assert await table.row(seen) == before


async def test_what_is_unchanged_is_looked_at_when_its_policy_has_ended(table: Table) -> None:
    row = await table.finished("a")
    await table.make_due(row)
    await table.take_due()
    await table.run(lifecycle.settle_unchanged, await table.row(row))
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 3600 < due_in <= 3660
    await table.set(row.id, "policy_expires_at = now() - interval '2 minutes'")
    await table.run(lifecycle.settle_unchanged, await table.row(row))
    assert (await table.row(row)).due_at is None


async def test_only_the_deleted_is_written_down_as_purged(table: Table) -> None:
    row = await table.finished("a", thumbnail_name="img.png")
    await table.run(lifecycle.settle_purged, row.id)
    assert await table.row(row) == row


async def test_what_has_a_final_reason_can_be_retried_and_nothing_else(table: Table) -> None:
    rows = {}
    for state in ("pending", "uploaded", "processing", "ready", "rejected", "failed", "expired"):
        rows[state] = await table.uploaded()
        await table.set(rows[state].id, f"state = '{state}', reason = 'r', claimed_revision = 1")
    gone, fine = await table.uploaded(), await table.uploaded()
    await table.set(gone.id, "state = 'failed', deleted_at = now()")
    await table.set(fine.id, "state = 'ready', reason = NULL, claimed_revision = 1")
    ids = [*(row.id for row in rows.values()), gone.id, fine.id, 2**62]
    woken = await table.run(lifecycle.retry, ids)
    taken_up = {rows[state].id for state in ("failed", "rejected", "ready")}
    assert {item.attachment_id for item in woken} == taken_up
    for item in woken:
        row = await table.row(replace(gone, id=item.attachment_id))
        assert (row.state, row.reason, row.revision) == ("uploaded", None, 2)
        claim = await table.claim(row)
        assert claim is not None
        assert claim.attachment.attempt == 1
    assert await table.run(lifecycle.retry, ids) == []


# --- whatever happens -------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "event",
                "event",
                "old event",
                "vague",
                "removed",
                "claim",
                "claim",
                "sweep",
                "sweep",
                "finish",
                "finish",
                "reject",
                "announce",
                "release",
                "renew",
                "missing",
                "again",
                "retry",
                "settle missing",
                "settle unchanged",
                "policy over",
                "delete",
            ]
        ),
        st.integers(0, 3),
    ),
    min_size=5,
    max_size=40,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_no_order_of_things_breaks_an_invariant(
    table: Table, steps: list[tuple[str, int]]
) -> None:
    row = await table.create()
    claims: list[Claim] = []  # in the order in which they were given; only the last may hold
    newest = 0
    for step, which in steps:
        before = await table.row(row)
        claim = claims[-1 - which % len(claims)] if claims else None
        holds = claim is not None and claim is claims[-1] and before.state == "processing"
        outcome = Outcome(state="ready", etag=before.etag, thumbnail_name="img.png")
        done: Any = False
        match step:
            case "event":
                newest += 1
                told = event(row, f"e{newest}", sequencer=f"{newest:06X}")
                await table.record(told, told)
            case "old event":
                await table.record(event(row, "old", sequencer="000000"))
                if before.sequencer is not None:
                    assert await table.row(row) == before
            case "vague":
                await table.record(event(row))
            case "removed":
                await table.record(event(row, removed=True))
            case "claim":
                given_to = await table.claim(before)
                if given_to is not None:
                    assert before.state == "uploaded"
                    claims.append(given_to)
            case "sweep":
                if before.due_at is not None:
                    await table.make_due(row)
                claims += [
                    Claim(attachment=due.attachment)
                    for due in await table.take_due()
                    if due.attachment.id == row.id and due.duty is Duty.PROCESS
                ]
            case "policy over":
                await table.set(row.id, "policy_expires_at = now() - interval '1 hour'")
            case "delete":
                await table.run(attachments.delete, row.id, 1, retention_s=60)
            case "again":
                await table.run(lifecycle.process_again, row.id)
            case "retry":
                await table.run(lifecycle.retry, [row.id])
            case "settle missing" if before.state not in ("uploaded", "processing"):
                await table.run(lifecycle.settle_missing, before, next_check_s=75.0)
            case "settle unchanged" if before.state in ("ready", "rejected"):
                await table.run(lifecycle.settle_unchanged, before)
        if claim is not None:
            match step:
                case "finish":
                    done = await table.finish(claim, outcome)
                    if done:
                        assert before.revision == claim.attachment.claimed_revision
                case "reject":
                    done = await table.finish(claim, Outcome(state="rejected", reason="too_large"))
                case "announce":
                    done = await table.run(
                        lifecycle.announce_thumbnail, claim, "img.png", lease_s=LEASE_S
                    )
                case "release":
                    done = await table.run(lifecycle.release, claim, delay_s=0.0) is not None
                case "renew":
                    done = bool(await table.run(lifecycle.renew, [claim], lease_s=LEASE_S))
                case "missing":
                    done = await table.run(
                        lifecycle.mark_missing,
                        claim,
                        next_check_s=75.0,
                        revision=claim.attachment.claimed_revision,
                    )
            assert not done or holds, "a claim that was lost wrote"
        after = await table.row(row)
        if step in ("finish", "reject", "announce", "release", "renew", "missing") and not done:
            assert after == before
        check(after, before)
    await table.pool.execute("DELETE FROM attachments")


def check(after: Attachment, before: Attachment) -> None:
    """Assert what must be true of a row at any time."""
    assert not after.resized or after.thumbnail_name is not None
    assert not after.resized or after.state == "ready" or after.deleted_at is not None
    if after.state in ("pending", "uploaded", "processing"):
        assert after.due_at is not None, f"{after.state}, and nobody will ever look at it"
    assert after.revision >= before.revision
    assert after.claimed_revision <= after.revision
    assert (after.claimed_revision, after.attempt) >= (before.claimed_revision, before.attempt)
    if after.state == "processing":
        assert after.attempt >= 1
    if after.state in ("failed", "rejected"):
        assert after.reason is not None
    if before.deleted_at is not None:
        assert after.revision == before.revision
        assert after.state == before.state
