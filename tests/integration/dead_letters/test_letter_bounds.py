"""Dead letters: one for each message, limits of their number and age, pages of their list."""

import asyncio

from shared import dead_letters
from tests.support.dead_letters import letters, refuse_to_read, the_letter
from tests.support.service import Service
from tests.support.starting import StartService


async def test_a_repeated_message_is_counted(service: Service) -> None:
    await refuse_to_read(service, b"again")
    first, _ = await the_letter(service)
    for _ in range(3):
        await refuse_to_read(service, b"again")
    letter, _ = await the_letter(service)
    assert (letter.id, letter.count) == (first.id, 4)
    assert letter.first_at == first.first_at
    assert letter.last_at > first.last_at


async def test_one_message_that_comes_many_times_at_once_is_one_letter(service: Service) -> None:
    await asyncio.gather(*(refuse_to_read(service, b"again") for _ in range(30)))
    assert (await the_letter(service))[0].count == 30


async def test_no_more_are_kept_than_set_and_the_oldest_go(start_service: StartService) -> None:
    service = await start_service(dead_letters="3")
    for number in range(5):
        await refuse_to_read(service, b"%d" % number + b" no json")
    assert [body[:1] for _, body in await letters(service)] == [b"4", b"3", b"2"]
    # A message that arrives again becomes the newest one.
    await refuse_to_read(service, b"2 no json")
    await refuse_to_read(service, b"5 no json")
    assert sorted(body[:1] for _, body in await letters(service)) == [b"2", b"4", b"5"]


async def test_many_at_once_stay_in_bounds(start_service: StartService) -> None:
    service = await start_service(dead_letters="5")
    bodies = [b"%d no json" % number for number in range(40)]
    await asyncio.gather(*(refuse_to_read(service, body) for body in bodies * 2))
    # Parallel requests may store more than the limit. The next request deletes the oldest ones.
    await refuse_to_read(service, b"the next")
    kept = await letters(service)
    assert len(kept) == 5
    assert b"the next" in [body for _, body in kept]


async def test_none_is_kept_longer_than_set(start_service: StartService) -> None:
    service = await start_service(dead_letter_age="3600")
    for body in (b"old", b"young"):
        await refuse_to_read(service, body)
    await service.execute(
        "UPDATE dead_letters SET last_at = now() - interval '61 minutes' WHERE body = $1", b"old"
    )
    await service.execute(
        "UPDATE dead_letters SET last_at = now() - interval '59 minutes' WHERE body = $1", b"young"
    )
    await refuse_to_read(service, b"new")
    assert sorted(body for _, body in await letters(service)) == [b"new", b"young"]


async def test_letters_are_listed_a_page_at_a_time(service: Service) -> None:
    for number in range(5):
        await refuse_to_read(service, b"%d no json" % number)
    async with service.database.acquire() as connection:
        first = await dead_letters.list_newest(connection, limit=2)
        second = await dead_letters.list_newest(connection, limit=2, before=first[-1].id)
        third = await dead_letters.list_newest(connection, limit=2, before=second[-1].id)
        assert await dead_letters.list_newest(connection, limit=2, before=third[-1].id) == []
        ids = [letter.id for letter in first + second + third]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 5
        assert await dead_letters.find(connection, ids[0] + 1) is None
        await dead_letters.remove(connection, ids[:3])
        await dead_letters.remove(connection, ids[:3])
        left = await dead_letters.list_newest(connection, limit=9)
    assert [letter.id for letter in left] == ids[3:]
