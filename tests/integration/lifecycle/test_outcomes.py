"""The outcomes of processing, and what happens if an object is missing."""

from dataclasses import asdict

import pytest

from shared import lifecycle
from shared.due import Duty
from shared.facts import FACTS, Facts
from shared.lifecycle import Outcome
from shared.reasons import ReasonCode
from shared.states import EndState, State
from tests.support.lifecycle import Table, event


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
    # The row is checked soon, because the event of a later upload may have been lost.
    assert 70 < due_in <= 75
    await table.run(lifecycle.settle_unchanged, row)
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 3600 < due_in <= 3660  # the last check comes after the policy has expired


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
    await table.run(lifecycle.announce_thumbnail, claim, "img.png", {}, lease_s=30.0)
    assert await table.finish(claim, Outcome(state=state, reason="too_large", etag="a"))
    row = await table.row(claim)
    assert (row.state, row.reason, row.resized) == (state, "too_large", False)
    # A failed attempt may have stored a thumbnail. The row still has its name, so that the purge
    # finds it.
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
async def test_row87_a_missing_object_is_missing(
    table: Table, etag: str | None, alive: bool, state: State, reason: ReasonCode | None
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


async def test_an_object_removed_before_its_successor_came_is_not_reported(
    table: Table,
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer="0A"))
    await table.set(row.id, "state = 'ready', size = 5, content_type = 'image/png'")
    # This event is newer than the first, but has no etag.
    await table.record(event(row, None, sequencer="0B"))
    claim = await table.claim(await table.row(row))
    assert claim is not None
    await table.run(lifecycle.mark_missing, claim, revision=2, next_check_s=75.0)
    after = await table.row(row)
    assert (after.state, after.reason) == ("failed", "missing")
    assert (after.size, after.content_type) == (None, None)


async def test_a_replaced_upload_does_not_become_missing(table: Table) -> None:
    claim = await table.claimed("a")
    await table.record(event(claim.attachment, "b"))
    assert not await table.run(lifecycle.mark_missing, claim, revision=1, next_check_s=75.0)
    assert (await table.row(claim)).state == "processing"
