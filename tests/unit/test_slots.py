"""A worker's slots for uploads: some serve the broker's messages, some are kept for the sweep."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.slots import Slot, Slots

A, B, C = 1, 2, 3


def fill(slots: Slots, organization: int) -> list[Slot]:
    """Take all the slots that one organization can get."""
    taken = []
    while (slot := slots.take(organization)) is not None:
        taken.append(slot)
    return taken


@pytest.mark.parametrize(
    ("total", "woken", "swept"),
    [(3, 1, 1), (4, 2, 1), (7, 5, 1), (8, 6, 1), (32, 24, 4), (48, 36, 6)],
)
def test_a_quarter_is_kept_for_the_sweep_and_for_newcomers(
    total: int, woken: int, swept: int
) -> None:
    slots = Slots(total)
    assert len(fill(slots, A)) == woken
    assert slots.take_for_sweep() == swept
    assert slots.take_for_sweep() == 0
    assert slots.take(A) is None


@pytest.mark.parametrize(("total", "newcomers"), [(3, 1), (4, 1), (8, 1), (32, 4), (48, 6)])
@pytest.mark.parametrize("flood", ["wake-ups and sweep", "sweep"])
def test_no_organization_fills_all_slots_while_another_waits(
    total: int, newcomers: int, flood: str
) -> None:
    slots = Slots(total)
    if flood == "wake-ups and sweep":
        fill(slots, A)
    for _ in range(slots.take_for_sweep()):
        slots.use_swept(A)
    assert slots.take(A) is None
    for organization in range(10, 10 + newcomers):
        assert slots.next_of([A, organization]) == organization
        assert slots.take(organization)
        # The other free slots are kept for organizations without a slot. This organization has one.
        assert slots.take(organization) is None
    assert slots.take(B) is None
    assert slots.next_of([A, B]) is None


def test_newcomers_do_not_take_the_last_slots_of_the_sweep() -> None:
    slots = Slots(48)
    fill(slots, A)
    for organization in range(10, 20):
        slots.take(organization)
    assert slots.take_for_sweep() == 6


def test_an_upload_of_an_unknown_organization_is_no_newcomer_and_counts_until_it_ends() -> None:
    slots = Slots(8)
    first = slots.take(0)
    assert first is not None
    slots.assign(first, A)
    assert slots.next_of([0, B]) == B
    fill(slots, C)
    assert slots.take(0) is None
    slots.leave(first)
    assert slots.next_of([0, B]) == 0


def test_a_returned_slot_is_notified() -> None:
    slots, sent = Slots(4), []
    slots.on_free = lambda: sent.append(True)
    slots.give_back(slots.take_for_sweep())
    slot = slots.take(A)
    assert slot is not None
    slots.leave(slot)
    slots.take_for_sweep()
    slots.leave(slots.use_swept(A))
    assert len(sent) == 3


async def test_the_next_sweep_waits_for_a_batch_of_slots() -> None:
    slots = Slots(32)
    assert slots.take_for_sweep() == 28
    waiting = asyncio.create_task(slots.wait_for_sweep())
    await asyncio.sleep(0)
    slots.give_back(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.give_back(1)
    async with asyncio.timeout(5):
        await waiting


def test_of_two_slots_none_is_reserved() -> None:
    slots = Slots(2)
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


def test_uploads_of_the_sweep_count_for_their_organization() -> None:
    slots = Slots(8)
    slots.take_for_sweep()
    slots.use_swept(A)
    slots.give_back(7)
    assert slots.next_of([A, B]) == B


def test_a_slot_counts_for_the_organization_that_is_found_later() -> None:
    slots = Slots(8)
    slot = slots.take(0)
    assert slot is not None
    slots.assign(slot, A)
    assert slots.next_of([A, B]) == B
    slots.leave(slot)
    assert slots.next_of([A, B]) == A


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(3, 20), st.lists(st.sampled_from("abcsrl"), max_size=60))
def test_slots_in_flight_stay_bounded_and_the_sweep_has_its_own(
    total: int, steps: list[str]
) -> None:
    slots = Slots(total)
    reserved = max(1, total // 8)
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
        if sum(slot.reserved for slot in held) < reserved:
            newcomer = slots.take(9)
            assert newcomer is not None
            slots.leave(newcomer)
        assert sum(not slot.swept for slot in held) < total
    for slot in held:
        slots.leave(slot)
    assert slots.take_for_sweep() == total - reserved
