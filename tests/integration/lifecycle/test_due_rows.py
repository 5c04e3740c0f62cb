"""The sweep's statement: which due rows it takes, and how many of each organization."""

import asyncio
from collections import Counter

import pytest

from shared import lifecycle
from shared.due import SWEEP_WINDOW, Due, Duty
from shared.lifecycle import Claim
from shared.states import State
from tests.support.lifecycle import ATTEMPTS, LEASE_S, Table, event


async def test_a_lease_that_is_over_is_claimed_again(table: Table) -> None:
    claim = await table.claimed()
    assert await table.take_due() == []
    for attempt in (2, 3):
        await table.make_due(claim)
        (due,) = await table.take_due()
        assert due.duty is Duty.PROCESS
        assert Claim(attachment=due.attachment).proof == (claim.attachment.id, 1, attempt)
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
    assert Claim(attachment=due.attachment).proof == (claim.attachment.id, 2, 1)


@pytest.mark.parametrize("state", ["pending", "ready", "rejected", "failed", "expired"])
async def test_the_store_is_asked_about_rows_that_are_not_processing(
    table: Table, state: State
) -> None:
    row = await table.uploaded()
    await table.set(row.id, f"state = '{state}'")
    await table.make_due(row)
    (due,) = await table.take_due()
    assert (due.duty, due.attachment.state) == (Duty.CHECK, state)
    assert await table.take_due() == []  # the row is not due before its lease ends
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 0 < due_in <= LEASE_S


@pytest.mark.parametrize("state", ["pending", "uploaded", "ready"])
async def test_a_deleted_row_is_purged(table: Table, state: State) -> None:
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


async def test_a_sweep_skips_rows_that_another_is_taking(table: Table) -> None:
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
    await table.make_due(few)  # due later than the backlog
    taken = await table.take_due(limit=limit)
    assert len(taken) == limit
    assert few.id in {due.attachment.id for due in taken}


@pytest.mark.parametrize("size", [100, 3_000])
async def test_organizations_have_equal_shares(table: Table, size: int) -> None:
    await table.backlog(size, 8 * size, 2 * size)
    for _ in range(3):
        assert shares(await table.take_due(limit=30)) == {1: 10, 2: 10, 3: 10}
    # A sweep that takes fewer rows than there are organizations does not reach all of them. The
    # next sweep begins after the last organization that was reached.
    taken = [due for _ in range(6) for due in await table.take_due(limit=1)]
    assert shares(taken) == {1: 2, 2: 2, 3: 2}


async def test_the_unused_share_of_one_organization_goes_to_the_others(table: Table) -> None:
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
    assert {len(sweep) for sweep in sweeps} == {4}
    # The sweeps reached the last organization and then continued with the first.
    assert table.walked_to == 4


async def test_sweeps_over_a_backlog_take_different_rows_and_all_of_them(table: Table) -> None:
    await table.backlog(1_500, 20, 300)
    ids: list[int] = []
    while taken := await asyncio.gather(*(table.take_due(limit=50) for _ in range(4))):
        if not any(taken):
            break
        ids += [due.attachment.id for sweep in taken for due in sweep]
    assert len(ids) == len(set(ids)) == 1_820


async def test_a_row_that_is_taken_while_a_sweep_looks_is_passed_over(table: Table) -> None:
    """The sweep's statement first reads and ranks rows, and then locks them.

    A worker may claim a row between the two steps. So the statement checks the values of each row
    again after it has locked the row.
    """
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
    """Count the due rows of each organization."""
    return Counter(due.attachment.organization_id for due in taken)
