"""Claims of attachments: only one worker gets a claim, and a lost claim changes nothing."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared import attachments, lifecycle
from shared.database import Connection
from shared.facts import Facts
from shared.lifecycle import Claim, Outcome
from shared.states import State
from tests.support.lifecycle import GRACE_S, LEASE_S, Table, event


async def test_a_claim_is_given_once(table: Table) -> None:
    row = await table.uploaded()
    claim = await table.claim(row)
    assert claim is not None
    assert claim.proof == (row.id, 1, 1)
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
async def test_only_uploaded_rows_can_be_claimed(table: Table, state: State) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}'")
    assert await table.claim(row) is None


async def test_a_deleted_row_cannot_be_claimed(table: Table) -> None:
    row = await table.uploaded()
    assert await table.run(attachments.delete, row.id, 1, retention_s=60)
    assert await table.claim(row) is None


def writes(claim: Claim) -> dict[str, Any]:
    """Return the functions with which the owner of a claim changes the row, by name."""
    revision = claim.attachment.claimed_revision
    outcome = Outcome(state="ready", etag="x", facts=Facts(size=1), thumbnail_name="img.png")

    async def renew(connection: Connection) -> bool:
        return bool(await lifecycle.renew(connection, [claim], lease_s=999.0))

    return {
        "renew": renew,
        "announce": lambda connection: lifecycle.announce_thumbnail(
            connection, claim, "stray.png", {}, lease_s=999.0
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
async def test_a_worker_that_lost_the_claim_changes_nothing(
    table: Table, write: str, loss: str
) -> None:
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
        # The row was lost, and a row of another organization got the same id. The test simulates
        # this: it changes the organization of the row.
        case "given again":
            await table.set(claim.attachment.id, "organization_id = 2")
    before = await table.row(claim)
    assert not await table.run(writes(claim)[write])
    assert await table.row(claim) == before


@pytest.mark.parametrize("write", ["renew", "announce", "finish", "release", "missing"])
async def test_the_holder_of_the_claim_may_write(table: Table, write: str) -> None:
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


async def test_renewing_extends_the_lease_and_names_the_revision(table: Table) -> None:
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


async def test_an_outcome_of_a_replaced_upload_is_refused(table: Table) -> None:
    claim = await table.claimed("a")
    await table.record(event(claim.attachment, "b"))
    before = await table.row(claim)
    outcome = Outcome(state="ready", etag="a", thumbnail_name="img.png")
    assert not await table.finish(claim, outcome)
    assert await table.row(claim) == before
    assert await table.finish(claim, replace(outcome, etag="b"), revision=2)
    after = await table.row(claim)
    assert (after.state, after.etag, after.resized) == ("ready", "b", True)
