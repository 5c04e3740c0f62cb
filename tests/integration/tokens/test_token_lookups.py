"""Look-ups of tokens: results are cached for five seconds, and parallel requests share
one look-up.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from api.callers import REMEMBERED_S
from shared.database import DatabaseAway
from shared.tokens import Issued, revoke_token
from tests.support.token_desk import Desk


async def test_a_look_up_that_a_revocation_overtook_is_not_remembered(desk: Desk) -> None:
    token = await desk.issue()
    async with desk.listening():
        # Open the connection and prepare the statement before the proxy holds answers back.
        await desk.find(await desk.issue())
        desk.proxy.hold()
        overtaken = asyncio.create_task(desk.find(token))
        await desk.answer_is_held()
        await revoke_token(desk.direct, token.id)
        await desk.forgets()
        desk.proxy.let_go()

        assert await overtaken is not None
        assert await desk.find(token) is None


async def test_no_later_request_joins_a_look_up_that_a_revocation_overtook(desk: Desk) -> None:
    token = await desk.issue()
    async with desk.listening():
        await asyncio.gather(*[desk.find(await desk.issue()) for _ in range(2)])
        desk.proxy.hold()
        overtaken = asyncio.create_task(desk.find(token))
        await desk.answer_is_held()
        await revoke_token(desk.direct, token.id)
        await desk.forgets()
        later = asyncio.create_task(desk.find(token))
        await asyncio.sleep(0)
        desk.proxy.let_go()

        assert await overtaken is not None
        assert await later is None


async def test_many_requests_share_one_look_up_for_five_seconds(desk: Desk) -> None:
    token = await desk.issue()

    for moment, look_ups in ((0.0, 1), (4.9, 1), (5.0, 2), (9.9, 2), (10.0, 3)):
        desk.now = moment
        found = await asyncio.gather(*(desk.find(token) for _ in range(50)))

        assert None not in found
        assert desk.database.count == look_ups


async def test_without_any_notification_a_revoked_token_is_good_for_five_seconds(
    desk: Desk,
) -> None:
    token = await desk.issue()
    assert await desk.find(token) is not None
    await revoke_token(desk.direct, token.id)

    desk.now = REMEMBERED_S - 0.1
    assert await desk.find(token) is not None
    desk.now = REMEMBERED_S
    assert await desk.find(token) is None


async def test_the_five_seconds_count_from_before_the_look_up(desk: Desk) -> None:
    token = await desk.issue()
    await desk.find(await desk.issue())
    desk.proxy.hold()
    slow = asyncio.create_task(desk.find(token))
    await desk.answer_is_held()
    await revoke_token(desk.direct, token.id)
    desk.now = REMEMBERED_S
    desk.proxy.let_go()

    assert await slow is not None
    assert await desk.find(token) is None


async def test_no_request_joins_a_look_up_that_began_five_seconds_ago(desk: Desk) -> None:
    token = await desk.issue()
    await desk.find(await desk.issue())
    desk.proxy.hold()
    slow = asyncio.create_task(desk.find(token))
    await desk.answer_is_held()
    await revoke_token(desk.direct, token.id)
    desk.now = REMEMBERED_S
    later = asyncio.create_task(desk.find(token))
    await asyncio.sleep(0)
    desk.proxy.let_go()

    assert await slow is not None
    assert await later is None


async def test_a_token_is_not_remembered_beyond_its_end(desk: Desk) -> None:
    token = await desk.issue(expires=timedelta(seconds=3))
    assert await desk.find(token) is not None

    desk.now = 3.0
    await desk.find(token)

    assert desk.database.count == 2


async def test_an_unknown_token_is_never_remembered(desk: Desk) -> None:
    unknown = Issued(id=0, plain="unknown", scope="read", expires_at=None)

    assert [await desk.find(unknown) for _ in range(3)] == [None] * 3
    assert desk.database.count == 3


async def test_while_the_database_is_away_a_token_is_good_for_five_seconds(desk: Desk) -> None:
    token = await desk.issue()
    await desk.find(token)
    desk.proxy.cut()

    desk.now = REMEMBERED_S - 0.1
    assert await desk.find(token) is not None
    desk.now = REMEMBERED_S
    with pytest.raises(DatabaseAway):
        await desk.find(token)
    desk.proxy.let_go()
    assert await desk.find(token) is not None


async def test_a_request_that_is_broken_off_ends_no_other_ones_look_up(desk: Desk) -> None:
    token = await desk.issue()
    await desk.find(await desk.issue())
    desk.proxy.hold()
    first, second = (asyncio.create_task(desk.find(token)) for _ in range(2))
    await desk.answer_is_held()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    desk.proxy.let_go()

    assert await second is not None
