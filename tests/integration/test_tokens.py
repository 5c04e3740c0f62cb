"""How long a token is admitted: until it is revoked, changed or expired, and five seconds more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from api.callers import REMEMBERED_S, Tokens
from api.token_changes import Listener
from shared import organizations
from shared.database import Database, DatabaseAway, open_database
from shared.settings import Settings
from shared.tokens import Caller, Issued, digest, issue_token, record_use, revoke_token
from tests.support.proxy import Link, Proxy, running_proxy
from tests.support.resources import PATH
from tests.support.service import make_settings, until
from tests.support.stack import Stack
from tests.support.starting import StartService

LISTENING = b"attachments-tokens"
NOTIFICATION = b"A"
"""The first byte of PostgreSQL's NotificationResponse."""


class Counting(Database):
    """Counts what is run; the database is the real one."""

    count = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Count, and do as the database does."""
        self.count += 1
        return await super().run(function, *args, **kwargs)


@dataclass(kw_only=True)
class Desk:
    """Remembered tokens over a real database, with a clock that the test moves.

    Look-ups go through `proxy`; `direct` and the listener do not.
    """

    settings: Settings
    direct: "asyncpg.Connection[asyncpg.Record]"
    proxy: Proxy
    database: Counting
    organization_id: int
    now: float = 0.0
    forgot: int = 0
    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.database, clock=lambda: self.now)

    def forget(self) -> None:
        """Forget, and count that."""
        self.forgot += 1
        self.tokens.forget()

    async def issue(self, **options: Any) -> Issued:
        """Make a token of the organization."""
        return await issue_token(self.direct, self.organization_id, "test", **options)

    async def find(self, token: Issued) -> Caller | None:
        """Find the caller of a token."""
        return await self.tokens.find(digest(token.plain))

    async def answer_is_held(self) -> None:
        """Wait until the server has answered a look-up, and the proxy holds the answer."""

        async def held() -> bool:
            return self.proxy.held > 0

        await until(held)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear of changes to tokens."""
        async with open_database(self.settings) as database:
            listener = Listener(self.settings, database, self.forget)
            task = asyncio.create_task(listener.run())

            async def hears() -> bool:
                return listener.hears

            try:
                await until(hears)
                self.forgot = 0
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def forgets(self) -> None:
        """Wait until a change was heard of."""

        async def heard() -> bool:
            return self.forgot > 0

        await until(heard)


@pytest_asyncio.fixture
async def desk(stack: Stack, database_url: str) -> AsyncIterator[Desk]:
    """An organization's tokens."""
    direct = await asyncpg.connect(database_url)
    organization_id = await organizations.create_organization(direct, "tests")
    async with running_proxy(database_url) as proxy:
        settings = make_settings(stack.environment(proxy.url))
        async with open_database(settings) as database:
            yield Desk(
                settings=make_settings(stack.environment(database_url)),
                direct=direct,
                proxy=proxy,
                database=Counting(database.pool),
                organization_id=organization_id,
            )
            proxy.let_go()
    await direct.close()


async def test_a_look_up_that_a_revocation_overtook_is_not_remembered(desk: Desk) -> None:
    token = await desk.issue()
    async with desk.listening():
        await desk.find(await desk.issue())  # a connection is open and has the statement prepared
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


CHANGES = {
    "revoked": "UPDATE tokens SET revoked_at = now() WHERE id = $1",
    "expired": "UPDATE tokens SET expires_at = now() WHERE id = $1",
    "moved": "UPDATE tokens SET organization_id = organization_id WHERE id = $1",
    "narrowed": "UPDATE tokens SET scope = 'read' WHERE id = $1",
    "of another person": "UPDATE tokens SET person_id = 7 WHERE id = $1",
    "of another secret": "UPDATE tokens SET digest = 'other' WHERE id = $1",
    "deleted": "DELETE FROM tokens WHERE id = $1",
    "emptied": "TRUNCATE tokens",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
async def test_a_change_is_heard_of_at_once(desk: Desk, statement: str) -> None:
    token = await desk.issue()
    async with desk.listening():
        assert await desk.find(token) is not None
        await desk.direct.execute(statement, *([token.id] if "$1" in statement else []))
        await desk.forgets()  # the clock stands still: nothing is forgotten for its age

        await desk.find(token)
        assert desk.database.count == 2


async def test_a_new_token_and_the_use_of_one_make_no_process_forget(desk: Desk) -> None:
    token = await desk.issue()
    async with desk.listening():
        await desk.issue()
        await record_use(desk.direct, {token.id: 0.0})
        await revoke_token(desk.direct, token.id)
        await desk.forgets()

        assert desk.forgot == 1  # PostgreSQL delivers notifications in the order of commits


def is_the_listeners(link: Link, _data: bytes) -> bool:
    """Choose every byte of connections that listen for tokens."""
    return LISTENING in link.head


def is_a_notification(_link: Link, data: bytes) -> bool:
    """Choose notifications: a pooler in transaction mode accepts LISTEN and delivers none."""
    return data.startswith(NOTIFICATION)


@pytest.mark.parametrize("loses", [is_the_listeners, is_a_notification])
async def test_a_revoked_token_is_refused_although_no_notification_arrives(
    start_service: StartService, database_url: str, loses: Callable[[Link, bytes], bool]
) -> None:
    async with running_proxy(database_url) as proxy:
        with capture_logs() as logged:
            service = await start_service(database_url=proxy.url)
            client = service.client
            assert (await client.request("GET", PATH)).status == 200
            proxy.lose(loses)
            await service.execute(
                "UPDATE tokens SET revoked_at = now() WHERE organization_id = $1",
                client.organization_id,
            )

            async def refused() -> bool:
                status = (await client.request("GET", PATH)).status
                assert status in (200, 401)
                return status == 401

            async def lost() -> bool:
                return any(
                    line["event"] == "cannot listen for changes of tokens" for line in logged
                )

            async def returned() -> bool:
                return any(
                    line["event"] == "listening for changes of tokens again" for line in logged
                )

            await until(refused, within_s=20)
            await until(lost, within_s=20)
            await asyncio.sleep(5)  # further attempts fail, and are not logged
            proxy.let_go()
            await until(returned, within_s=20)
        events = [line["event"] for line in logged if "listen" in line["event"]]
        assert events == [
            "cannot listen for changes of tokens",
            "listening for changes of tokens again",
        ]
