"""Keys, such as organizations, take turns to use a limited number of places.

Each key has a share of the places, and only a limited number of tasks may wait.
"""

import asyncio

import pytest

from shared.errors import Busy
from shared.turns import Turns


async def served(turns: Turns, key: str, order: list[str]) -> None:
    """Take a place, record the key, and hold the place for one round of the event loop."""
    async with turns.turn(key):
        order.append(key)
        await asyncio.sleep(0)


async def test_a_key_with_many_requests_waits_after_one_with_few() -> None:
    turns, order = Turns(2, each=1, wait_s=30), list[str]()
    await asyncio.gather(
        *(served(turns, "a", order) for _ in range(20)), *(served(turns, "b", order) for _ in "xy")
    )
    assert len(order) == 22
    assert sorted(order[:4]) == ["a", "a", "b", "b"]


async def test_one_place_goes_round_all_keys() -> None:
    turns, order = Turns(1, each=1, wait_s=30), list[str]()
    await asyncio.gather(*(served(turns, key, order) for key in "aaabbc"))
    assert "".join(order) == "abcaba" or "".join(order) == "aabcab"


async def test_a_key_never_holds_more_than_its_share() -> None:
    turns, held, most = Turns(5, each=2, wait_s=30), 0, 0

    async def hold() -> None:
        nonlocal held, most
        async with turns.turn("a"):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(hold() for _ in range(50)))
    assert most == 2


async def test_the_last_places_are_for_keys_that_hold_none() -> None:
    turns = Turns(8, each=2, newcomers=4, wait_s=30)
    for key in "aabb":
        assert turns.take_free(key)
    assert turns.take_free("c")
    # The key "c" may have two places. But the last free place is kept for keys without a place.
    assert not turns.take_free("c")
    waits = asyncio.create_task(turns.take("c"))
    await asyncio.sleep(0)
    for key in "def":
        assert turns.take_free(key)
    assert not turns.take_free("g")
    new = asyncio.create_task(turns.take("g"))
    await asyncio.sleep(0)
    # "c" has waited longer than "g", but "c" already has a place, so "g" gets this place.
    turns.give_back("a")
    await new
    assert not waits.done()
    for key in "abbde":
        turns.give_back(key)
    await waits
    for key in "ccfg":
        turns.give_back(key)


async def test_too_many_that_wait_are_refused_at_once() -> None:
    turns = Turns(1, each=1, waiting=1, wait_s=30)
    await turns.take("a")
    waits = asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    with pytest.raises(Busy) as busy:
        await turns.take("a")
    assert busy.value.own
    turns.give_back("a")
    await waits
    turns.give_back("a")


@pytest.mark.parametrize("key", ["a", "b"])
async def test_a_timeout_names_the_organization_that_fills_the_places(key: str) -> None:
    turns = Turns(1, each=1, wait_s=0.01)
    await turns.take("a")
    with pytest.raises(Busy) as busy:
        await turns.take(key)
    assert busy.value.own is (key == "a")
    turns.give_back("a")
    await turns.take(key)


async def test_a_cancelled_wait_keeps_no_place() -> None:
    turns = Turns(1, each=1, wait_s=30)
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take("a")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    turns.give_back("a")  # the second task gets the place, but is cancelled before it runs
    waiting[1].cancel()
    await waiting[2]
    turns.give_back("a")
    await asyncio.wait_for(turns.take("a"), 1)


async def test_there_is_room_for_as_many_as_may_wait() -> None:
    turns = Turns(1, each=1, waiting=3)
    await turns.take("a")
    assert turns.has_room("a", 3)
    waits = asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    assert turns.has_room("a", 2)
    assert not turns.has_room("a", 3)
    assert turns.has_room("b", 3)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
