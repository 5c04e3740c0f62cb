"""Organizations take turns to use a few places, such as decoders. A turn is a slice of jobs."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.slices import SLICE_JOBS, SLICE_S, Gate, Slice, Slices

A, B, C = 1, 2, 3


def fill(turns: Slices[int], organization: int, count: int) -> None:
    """Let `count` jobs of an organization wait. Each job is the organization's number."""
    for _ in range(count):
        turns.wait(organization, organization)


def work_off(turns: Slices[int], *, job_s: float = 0.0) -> list[int]:
    """Serve all waiting jobs one after the other; return their organizations in this order.

    Each job lasts `job_s` seconds.
    """
    order, now = [], 0.0
    while (served := turns.serve(now)) is not None:
        order.append(served[0])
        now += job_s
        turns.end(served[1], now)
    return order


def test_organizations_are_served_in_slices() -> None:
    turns: Slices[int] = Slices(1, slice_jobs=3)
    fill(turns, A, 7)
    fill(turns, B, 4)
    fill(turns, C, 1)
    first_jobs, slices = [A, B, C], [A, A, A, B, B, B, A, A, A]
    assert work_off(turns) == first_jobs + slices


def test_a_slice_of_slow_jobs_ends_by_the_clock() -> None:
    turns: Slices[int] = Slices(1, slice_jobs=8, slice_s=0.25)
    fill(turns, A, 6)
    fill(turns, B, 2)
    assert work_off(turns, job_s=0.1) == [A, B, A, A, A, B, A, A]


def begin_floods(turns: Slices[int], floods: int) -> Slice:
    """Let many organizations wait with 50 jobs each, and start the first job of a slice.

    `floods` is the number of organizations; their ids begin at 10. Return the started slice.
    """
    for organization in range(10, 10 + floods):
        fill(turns, organization, 50)
    while True:
        served = turns.serve(0)
        assert served is not None
        if not served[1].ahead:
            return served[1]
        turns.end(served[1], 0)


@pytest.mark.parametrize("floods", [1, 2, 3, 10])
def test_a_newcomer_waits_for_the_job_in_progress_alone(floods: int) -> None:
    turns: Slices[int] = Slices(1, slice_jobs=8)
    given_slice = begin_floods(turns, floods)
    fill(turns, A, 2)
    turns.end(given_slice, 0)
    order = work_off(turns)
    assert order[0] == A
    # The interrupted slice continues after A's first job. A's second job waits until A's next turn.
    assert order[1:8] == [given_slice.organization] * 7
    assert order[8:].index(A) == 8 * (floods - 1)


@pytest.mark.parametrize("floods", [1, 2, 3])
def test_newcomers_that_come_again_and_again_keep_no_flood_from_its_slices(floods: int) -> None:
    turns: Slices[int] = Slices(1, slice_jobs=8)
    given_slice = begin_floods(turns, floods)
    order: list[int] = []
    for _ in range(120):
        for organization in (A, B, C):
            # Each of these organizations has one waiting job at a time.
            turns.withdraw(organization, organization)
            turns.wait(organization, organization)
        turns.end(given_slice, 0)
        served = turns.serve(0)
        assert served is not None
        order.append(served[0])
        given_slice = served[1]
    of_floods = sum(organization >= 10 for organization in order)
    assert of_floods >= 120 // 3


def test_a_long_job_of_a_newcomer_takes_nothing_from_the_slice_that_it_interrupts() -> None:
    turns: Slices[int] = Slices(1, slice_jobs=8, slice_s=0.25)
    given_slice = begin_floods(turns, 2)
    fill(turns, A, 1)
    turns.end(given_slice, 0.1)
    served = turns.serve(0.1)
    assert served is not None
    assert served[0] == A
    turns.end(served[1], 10.1)
    for now, organization in ((10.1, 10), (10.2, 10), (10.3, 11)):
        served = turns.serve(now)
        assert served is not None
        assert served[0] == organization
        turns.end(served[1], now)


def test_newcomers_go_ahead_in_the_order_in_which_they_came() -> None:
    turns: Slices[int] = Slices(1, slice_jobs=3)
    given_slice = begin_floods(turns, 2)
    for organization in (C, A, B):
        fill(turns, organization, 1)
    assert turns.withdraw(A, A)
    turns.end(given_slice, 0)
    assert work_off(turns)[:2] == [C, B]


def test_one_alone_has_every_place_at_once() -> None:
    turns: Slices[int] = Slices(3)
    fill(turns, A, 5)
    held = [turns.serve(0) for _ in range(4)]
    assert [None if one is None else one[0] for one in held] == [A, A, A, None]


def test_none_takes_the_last_place_while_another_waits() -> None:
    turns: Slices[int] = Slices(3)
    fill(turns, A, 50)
    held: list[Slice] = []
    while (served := turns.serve(0)) is not None:
        held.append(served[1])
    assert len(held) == 3
    fill(turns, B, 2)
    turns.end(held.pop(), 0)  # A's slice could continue, but B is served
    served = turns.serve(0)
    assert served is not None
    assert served[0] == B
    turns.end(held.pop(), 0)
    served = turns.serve(0)
    assert served is not None
    assert served[0] == A  # A has one of the three places, so it may get a second one


@pytest.mark.parametrize("places", [2, 3, 8])
def test_the_last_place_may_be_kept_for_another_organization(places: int) -> None:
    turns: Slices[int] = Slices(places, keeps_one=True)
    fill(turns, A, 20)
    jobs = []
    while (served := turns.serve(0)) is not None:
        jobs.append(served)
    assert [organization for organization, _ in jobs] == [A] * (places - 1)
    fill(turns, B, 2)
    first = turns.serve(0)
    assert first is not None
    assert first[0] == B
    assert turns.serve(0) is None
    turns.end(first[1], 0)
    second = turns.serve(0)
    assert second is not None
    assert second[0] == B
    turns.end(jobs[0][1], 0)
    third = turns.serve(0)
    assert third is not None
    assert third[0] == A


def test_a_single_place_is_never_kept() -> None:
    turns: Slices[int] = Slices(1, keeps_one=True)
    fill(turns, A, 3)
    fill(turns, B, 1)
    assert sorted(work_off(turns)) == [A, A, A, B]


def test_a_cancelled_waiter_is_not_served() -> None:
    turns: Slices[str] = Slices(1)
    turns.wait(A, "first")
    turns.wait(A, "second")
    assert turns.withdraw(A, "first")
    assert not turns.withdraw(A, "first")
    assert not turns.withdraw(B, "first")
    served = turns.serve(0)
    assert served is not None
    assert served[0] == "second"


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_waiter_lets_every_other_begin_at_most_one_slice(data: st.DataObject) -> None:
    """While an organization waits, every other organization starts at most one new slice.

    Slices that started before the organization began to wait do not count.
    """
    places = data.draw(st.integers(1, 4))
    jobs = data.draw(st.integers(1, 4))
    turns: Slices[int] = Slices(places, slice_jobs=jobs, slice_s=10)
    now = 0.0
    running: list[Slice] = []
    waiting: Counter[int] = Counter()
    begun_by_others: dict[int, Counter[int]] = {}
    went_ahead: set[int] = set()

    def came(organization: int, count: int) -> None:
        if not waiting[organization]:
            begun_by_others[organization] = Counter()
        fill(turns, organization, count)
        waiting[organization] += count

    def serve() -> None:
        while (served := turns.serve(now)) is not None:
            organization, given_slice = served
            others = {each for each in +waiting if each != organization}
            if others and places > 1:
                busy = sum(each.organization == organization for each in running)
                assert busy + 1 < places
            if given_slice.ahead:
                assert given_slice.jobs == 1
                # An organization may go ahead of the others once. It may do so again only after a
                # usual slice has begun.
                assert organization not in went_ahead
                went_ahead.add(organization)
            elif given_slice.jobs == 1:
                went_ahead.clear()
            for other in others:
                if given_slice.ahead:
                    continue
                if given_slice.jobs == 1 and other not in {one.organization for one in running}:
                    begun_by_others[other][organization] += 1
                    assert begun_by_others[other][organization] <= 1
            waiting[organization] -= 1
            begun_by_others[organization] = Counter()
            running.append(given_slice)
            assert len(running) <= places
            assert given_slice.jobs <= jobs
        assert not +waiting or len(running) == places  # if a job waits, no place is free

    for _ in range(data.draw(st.integers(1, 60))):
        if data.draw(st.booleans()) and running:
            now += data.draw(st.sampled_from([0.0, 1.0, 6.0]))
            turns.end(running.pop(data.draw(st.integers(0, len(running) - 1))), now)
        else:
            came(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6)))
        serve()
    while running:
        turns.end(running.pop(), now)
        serve()
    assert not +waiting


async def test_a_gate_lets_as_many_in_as_it_has_places() -> None:
    gate = Gate(2)
    inside = most = 0

    async def enter(organization: int) -> None:
        nonlocal inside, most
        async with gate.turn(organization):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter(number % 3) for number in range(60)))
    assert (inside, most) == (0, 2)


@pytest.mark.parametrize("steps", range(4))
async def test_one_that_is_cancelled_while_it_waits_or_is_let_in_keeps_no_place(steps: int) -> None:
    gate = Gate(1)
    entered = asyncio.Event()

    async def hold(organization: int, until: asyncio.Event) -> None:
        async with gate.turn(organization):
            entered.set()
            await until.wait()

    leave, never = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(hold(A, leave))
    await entered.wait()
    waiting = asyncio.create_task(hold(B, never))
    await asyncio.sleep(0)
    leave.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await first
    async with asyncio.timeout(5), gate.turn(C):
        pass


def test_a_slice_is_as_long_as_documented() -> None:
    assert (SLICE_JOBS, SLICE_S) == (8, 0.25)
