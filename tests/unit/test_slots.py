"""The slots of a worker: some for what the broker brings, and always some for the sweep."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.slots import Slot, Slots

A, B, C = 1, 2, 3


def fill(slots: Slots, organization: int) -> list[Slot]:
    """Take all that an organization may have at one time."""
    taken = []
    while (slot := slots.take(organization)) is not None:
        taken.append(slot)
    return taken


@pytest.mark.parametrize(("total", "woken"), [(2, 1), (3, 2), (4, 3), (8, 6), (32, 24)])
def test_a_quarter_is_kept_for_the_sweep(total: int, woken: int) -> None:
    slots = Slots(total)
    assert len(fill(slots, A)) == woken
    assert slots.take_for_sweep() == total - woken
    assert slots.take_for_sweep() == 0


def test_the_sweep_may_have_all_and_no_more_are_in_flight() -> None:
    slots = Slots(8)
    assert slots.take_for_sweep() == 8
    assert slots.take(A) is None
    slots.give_back(2)
    assert slots.take(A)
    assert slots.take_for_sweep() == 1


def test_a_slot_that_is_given_back_is_told_of() -> None:
    slots, told = Slots(4), []
    slots.on_free = lambda: told.append(True)
    slots.give_back(slots.take_for_sweep())
    slot = slots.take(A)
    assert slot is not None
    slots.leave(slot)
    slots.take_for_sweep()
    slots.leave(slots.use_swept(A))
    assert len(told) == 3


async def test_the_next_sweep_waits_for_a_batch_of_slots() -> None:
    slots = Slots(32)
    assert slots.take_for_sweep() == 32
    waiting = asyncio.create_task(slots.wait_for_sweep())
    for count in (2, 1):
        await asyncio.sleep(0)
        slots.give_back(count)
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.give_back(1)
    async with asyncio.timeout(5):
        await waiting


@pytest.mark.parametrize("total", [8, 32, 48])
def test_an_organization_with_nothing_in_flight_need_not_wait_for_one_that_has_the_slots(
    total: int,
) -> None:
    slots = Slots(total)
    fill(slots, A)
    assert len(fill(slots, B)) == 1
    assert slots.take(C) is None
    assert slots.take_for_sweep() > 0  # one is lent, not all


def test_the_sweep_lends_no_slot_where_it_has_but_one() -> None:
    slots = Slots(4)
    fill(slots, A)
    assert slots.take(B) is None
    assert slots.take_for_sweep() == 1


def test_a_free_slot_goes_to_the_organization_that_holds_the_fewest() -> None:
    slots = Slots(8)
    held = fill(slots, A)
    assert slots.next_of([A]) is None
    assert slots.next_of([A, B]) == B
    assert slots.take(B)
    assert slots.next_of([A, B, C]) is None
    for expected in (C, B):
        slots.leave(held.pop())
        slots.leave(held.pop())
        assert slots.next_of([A, B, C]) == expected
        assert slots.take(expected)
        slots.take(A)


def test_what_the_sweep_has_in_flight_counts_for_its_organization() -> None:
    slots = Slots(8)
    slots.take_for_sweep()
    slots.use_swept(A)
    slots.give_back(7)
    assert slots.next_of([A, B]) == B


def test_a_slot_counts_for_whose_it_turns_out_to_be() -> None:
    slots = Slots(8)
    slot = slots.take(0)
    assert slot is not None
    slots.assign(slot, A)
    assert slots.next_of([A, 0]) == 0
    slots.leave(slot)
    assert slots.next_of([A, 0]) == A


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 20), st.lists(st.sampled_from("abcsrl"), max_size=60))
def test_whatever_happens_no_more_are_in_flight_and_the_sweep_has_its_own(
    total: int, steps: list[str]
) -> None:
    slots = Slots(total)
    held: list[Slot] = []
    for step in steps:
        if step in "abc":
            slot = slots.take("abc".index(step) + 1)
            held += [slot] if slot else []
        elif step == "s":
            free = slots.take_for_sweep()
            held += [slots.use_swept(A) for _ in range(free // 2)]
            slots.give_back(free - free // 2)
        elif held:
            slots.leave(held.pop(0 if step == "r" else -1))
        assert len(held) <= total
        assert sum(not slot.swept for slot in held) < total
    for slot in held:
        slots.leave(slot)
    assert slots.take_for_sweep() == total
