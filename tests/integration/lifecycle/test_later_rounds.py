"""Later rounds of processing: new thumbnails, retries, settled rows and purged rows."""

from dataclasses import replace
from typing import Any

import pytest

from shared import lifecycle
from shared.due import Duty
from shared.lifecycle import Outcome
from shared.states import State
from tests.support.lifecycle import Table, event


async def test_one_more_round_can_be_asked_for(table: Table) -> None:
    row = await table.uploaded()
    await table.set(row.id, "state = 'ready', resized = true, thumbnail_name = 'img.png'")
    assert await table.run(lifecycle.process_again, row.id)
    after = await table.row(row)
    assert (after.state, after.revision, after.resized) == ("uploaded", 2, False)
    assert [due.duty for due in await table.take_due()] == [Duty.PROCESS]


async def test_one_more_round_waits_for_running_jobs(table: Table) -> None:
    claim = await table.claimed()
    before = await table.row(claim)
    assert await table.run(lifecycle.process_again, claim.attachment.id)
    after = await table.row(claim)
    assert after == replace(before, thumbnail_spoiled=True)
    outcome = Outcome(state="ready", etag="a", thumbnail_name="img.png")
    assert not await table.finish(claim, outcome)
    assert await table.run(lifecycle.announce_thumbnail, claim, "img.png", {}, lease_s=30)
    assert await table.finish(claim, outcome)


async def test_a_spoiled_thumbnail_does_not_matter_to_a_row_without_one(table: Table) -> None:
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
async def test_there_is_no_further_round_for_types_without_a_thumbnail(
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
        # The row is checked once more, because an upload that began before the policy expired may
        # still arrive.
        ("pending", False, "expired", True),
        ("expired", False, "expired", False),
        ("ready", True, "failed", True),
        ("ready", False, "failed", False),
        ("rejected", False, "failed", False),
        ("failed", False, "failed", False),
    ],
)
async def test_a_row_without_an_object_is_settled(
    table: Table, state: State, alive: bool, after: State, due: bool
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


async def test_an_unchanged_row_is_checked_when_its_policy_has_ended(table: Table) -> None:
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


async def test_only_rows_with_a_final_reason_can_be_retried(table: Table) -> None:
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
