"""The places of a worker: some for what the broker brings, and always some for the sweep."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.slots import Place, Places

A, B, C = 1, 2, 3


def fill(places: Places, organization: int) -> list[Place]:
    """Take all that an organization may have at one time."""
    taken = []
    while (place := places.take(organization)) is not None:
        taken.append(place)
    return taken


@pytest.mark.parametrize(("total", "woken"), [(2, 1), (3, 2), (4, 3), (8, 6), (32, 24)])
def test_a_quarter_is_kept_for_the_sweep(total: int, woken: int) -> None:
    places = Places(total)
    assert len(fill(places, A)) == woken
    assert places.take_for_sweep() == total - woken
    assert places.take_for_sweep() == 0


def test_the_sweep_may_have_all_and_no_more_are_in_flight() -> None:
    places = Places(8)
    assert places.take_for_sweep() == 8
    assert places.take(A) is None
    places.give_back(2)
    assert places.take(A)
    assert places.take_for_sweep() == 1


def test_a_place_that_is_given_back_is_told_of() -> None:
    places, told = Places(4), []
    places.on_free = lambda: told.append(True)
    places.give_back(places.take_for_sweep())
    place = places.take(A)
    assert place is not None
    places.leave(place)
    places.take_for_sweep()
    places.leave(places.use_swept(A))
    assert len(told) == 3


async def test_the_next_sweep_waits_for_a_batch_of_places() -> None:
    places = Places(32)
    assert places.take_for_sweep() == 32
    waiting = asyncio.create_task(places.wait_for_sweep())
    for count in (2, 1):
        await asyncio.sleep(0)
        places.give_back(count)
    await asyncio.sleep(0)
    assert not waiting.done()
    places.give_back(1)
    async with asyncio.timeout(5):
        await waiting


@pytest.mark.parametrize("total", [8, 32, 48])
def test_an_organization_with_nothing_in_flight_need_not_wait_for_one_that_has_the_places(
    total: int,
) -> None:
    places = Places(total)
    fill(places, A)
    assert len(fill(places, B)) == 1
    assert places.take(C) is None
    assert places.take_for_sweep() > 0  # one is lent, not all


def test_the_sweep_lends_no_place_where_it_has_but_one() -> None:
    places = Places(4)
    fill(places, A)
    assert places.take(B) is None
    assert places.take_for_sweep() == 1


def test_a_free_place_goes_to_the_organization_that_holds_the_fewest() -> None:
    places = Places(8)
    held = fill(places, A)
    assert places.next_of([A]) is None
    assert places.next_of([A, B]) == B
    assert places.take(B)
    assert places.next_of([A, B, C]) is None
    for expected in (C, B):
        places.leave(held.pop())
        places.leave(held.pop())
        assert places.next_of([A, B, C]) == expected
        assert places.take(expected)
        places.take(A)


def test_what_the_sweep_has_in_flight_counts_for_its_organization() -> None:
    places = Places(8)
    places.take_for_sweep()
    places.use_swept(A)
    places.give_back(7)
    assert places.next_of([A, B]) == B


def test_a_place_counts_for_whose_it_turns_out_to_be() -> None:
    places = Places(8)
    place = places.take(0)
    assert place is not None
    places.assign(place, A)
    assert places.next_of([A, 0]) == 0
    places.leave(place)
    assert places.next_of([A, 0]) == A


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 20), st.lists(st.sampled_from("abcsrl"), max_size=60))
def test_whatever_happens_no_more_are_in_flight_and_the_sweep_has_its_own(
    total: int, steps: list[str]
) -> None:
    places = Places(total)
    held: list[Place] = []
    for step in steps:
        if step in "abc":
            place = places.take("abc".index(step) + 1)
            held += [place] if place else []
        elif step == "s":
            free = places.take_for_sweep()
            held += [places.use_swept(A) for _ in range(free // 2)]
            places.give_back(free - free // 2)
        elif held:
            places.leave(held.pop(0 if step == "r" else -1))
        assert len(held) <= total
        assert sum(not place.swept for place in held) < total
    for place in held:
        places.leave(place)
    assert places.take_for_sweep() == total
