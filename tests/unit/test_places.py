"""The places of a worker: some for what the broker brings, and always some for the sweep."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from worker.slots import Places


async def enter(places: Places, exits: AsyncExitStack) -> bool:
    """Take a place for what the broker brought, if there is one at once."""
    try:
        async with asyncio.timeout(0.05):
            await exits.enter_async_context(places.of_woken())
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(("total", "woken"), [(2, 1), (3, 2), (4, 3), (8, 6), (32, 24)])
async def test_a_quarter_is_kept_for_the_sweep(total: int, woken: int) -> None:
    places = Places(total)
    async with AsyncExitStack() as exits:
        entered = [await enter(places, exits) for _ in range(total)]
        assert entered.count(True) == woken
        assert places.take_for_sweep() == total - woken
        assert places.take_for_sweep() == 0


async def test_the_sweep_may_have_all_and_no_more_are_in_flight() -> None:
    places = Places(8)
    assert places.take_for_sweep() == 8
    async with AsyncExitStack() as exits:
        assert not await enter(places, exits)
        await places.give_back(2)
        assert await enter(places, exits)
        assert places.take_for_sweep() == 1


async def test_who_waits_is_let_in_when_a_place_is_given_back() -> None:
    places = Places(4)
    taken = places.take_for_sweep()
    async with AsyncExitStack() as exits:
        waiting = asyncio.create_task(exits.enter_async_context(places.of_woken()))
        await asyncio.sleep(0)
        assert not waiting.done()
        await places.give_back(taken)
        async with asyncio.timeout(5):
            await waiting


async def test_the_next_sweep_waits_for_a_batch_of_places() -> None:
    places = Places(32)
    assert places.take_for_sweep() == 32
    waiting = asyncio.create_task(places.wait_for_sweep())
    await places.give_back(3)
    await asyncio.sleep(0)
    assert not waiting.done()
    await places.give_back(1)
    async with asyncio.timeout(5):
        await waiting


async def test_one_that_gives_up_waiting_keeps_no_place() -> None:
    places = Places(4)
    places.take_for_sweep()
    async with AsyncExitStack() as exits:
        assert not await enter(places, exits)
    await places.give_back(4)
    assert places.take_for_sweep() == 4
