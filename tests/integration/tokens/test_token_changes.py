"""Changed tokens: an API process applies a change at once when PostgreSQL notifies the process.

Without the notification, it applies the change within five seconds.
"""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from shared.tokens import record_use, revoke_token
from tests.support.proxy import Link, running_proxy
from tests.support.resources import PATH
from tests.support.service import until
from tests.support.starting import StartService
from tests.support.token_desk import Desk

LISTENING = b"attachments-tokens"
NOTIFICATION = b"A"
"""The first byte of PostgreSQL's NotificationResponse."""

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
        # The cache's clock does not advance in this test. So only a notification removes the entry.
        await desk.forgets()

        await desk.find(token)
        assert desk.database.count == 2


async def test_a_new_token_and_the_use_of_one_make_no_process_forget(desk: Desk) -> None:
    token = await desk.issue()
    async with desk.listening():
        await desk.issue()
        await record_use(desk.direct, {token.id: 0.0})
        await revoke_token(desk.direct, token.id)
        await desk.forgets()

        # Notifications arrive in the order of the commits, and the revocation was the last commit.
        # There was only one notification, so the earlier changes have caused none.
        assert desk.forgot == 1


def is_the_listeners(link: Link, _data: bytes) -> bool:
    """Return True for all bytes of a connection that listens for token changes."""
    return LISTENING in link.head


def is_a_notification(_link: Link, data: bytes) -> bool:
    """Return True for PostgreSQL's notifications.

    Without them, the connection behaves like one through a pooler in transaction mode: LISTEN
    succeeds, but no notification arrives.
    """
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
            # During this time the service tries again to listen, but does not log each failure.
            await asyncio.sleep(5)
            proxy.let_go()
            await until(returned, within_s=20)
        events = [line["event"] for line in logged if "listen" in line["event"]]
        assert events == [
            "cannot listen for changes of tokens",
            "listening for changes of tokens again",
        ]
