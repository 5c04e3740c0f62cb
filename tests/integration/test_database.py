"""A database that refuses the service: clients get 503, and the log reports no bug."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from api.database_listener import Listener
from shared.database import Connection, Database, DatabaseAway, open_database
from tests.support.service import Answer, Service, make_settings, until
from tests.support.stack import EVENTS_TOKEN, Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"
CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}
EVENT = {
    "eventName": "s3:ObjectCreated:Put",
    "s3": {
        "bucket": {"name": "attachments"},
        "object": {
            "key": "attachments/files/000/000/001/original/a.png",
            "size": 1,
            "eTag": "e1",
            "sequencer": "1",
        },
    },
}
PASSWORD = "not-the-password-of-the-role"


async def send_event(service: Service, key: str | None = None) -> Answer:
    """Send an event about an object, as the store does, and return the answer."""
    event = json.loads(json.dumps(EVENT))
    event["s3"]["bucket"]["name"] = service.settings.s3_bucket
    if key is not None:
        event["s3"]["object"]["key"] = key
    return await service.client.request(
        "POST",
        "/events/s3",
        {"Records": [event]},
        headers={"Authorization": f"Bearer {EVENTS_TOKEN}", "X-Auth-Token": ""},
    )


def is_unavailable(answer: Answer) -> bool:
    """Return True if the answer is a 503 with a Retry-After of at least one second."""
    return answer.status == 503 and int(answer.headers["Retry-After"]) >= 1


@pytest_asyncio.fixture
async def refused_url(stack: Stack, database_url: str) -> AsyncIterator[str]:
    """Yield a database address with a role that may not log in."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE locked_out NOLOGIN")
    parts = urlsplit(database_url)
    host = parts.netloc.rpartition("@")[2]
    yield parts._replace(netloc=f"locked_out:{PASSWORD}@{host}").geturl()
    await connection.execute("DROP ROLE locked_out")
    await connection.close()


async def test_a_database_that_refuses_our_role_is_away(
    start_service: StartService, database_url: str, refused_url: str
) -> None:
    service = await start_service(database_url=refused_url)

    assert is_unavailable(await service.client.request("GET", PATH))
    assert is_unavailable(await send_event(service))


async def test_a_wrong_password_is_no_bug(start_service: StartService, database_url: str) -> None:
    user = urlsplit(database_url).username
    address = urlsplit(database_url).netloc.rpartition("@")[2]
    wrong = urlsplit(database_url)._replace(netloc=f"{user}:{PASSWORD}@{address}").geturl()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)
    service = await start_service(database_url=wrong)

    assert is_unavailable(await service.client.request("GET", PATH))
    assert is_unavailable(await send_event(service))


async def test_a_read_only_database_is_away_until_it_can_be_written_to(service: Service) -> None:
    created = await service.client.create()
    row = await service.row(created["data"]["id"])
    name = urlsplit(service.settings.database_url.get_secret_value()).path.lstrip("/")
    read_only = f"ALTER DATABASE {name} SET default_transaction_read_only"
    await service.execute(f"{read_only} = on")
    await service.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = $1 AND application_name = 'attachments'",
        name,
    )

    for _ in range(3):
        assert is_unavailable(await service.client.request("POST", PATH, CREATE))
        assert is_unavailable(await send_event(service, row.key))
    assert (await service.client.request("GET", PATH)).status == 200

    await service.execute(f"{read_only} = off")

    assert (await service.client.request("POST", PATH, CREATE)).status == 201
    assert (await send_event(service, row.key)).status == 200


@pytest.mark.parametrize(
    "code",
    ["28000", "28P01", "25006", "53000", "53100", "53200", "53300", "57000", "57P01", "58030"],
)
async def test_a_refusal_that_an_operator_must_repair_counts_as_unavailable(
    stack: Stack, database_url: str, code: str
) -> None:
    async def fail(connection: Connection) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    async with open_database(make_settings(stack.environment(database_url))) as database:
        with pytest.raises(DatabaseAway):
            await database.run(fail)
        assert await _one(database) == 1


async def _one(database: Database) -> int:
    return await database.run(lambda connection: connection.fetchval("SELECT 1"))


async def test_the_api_listens_for_tokens_once_it_is_let_in(
    stack: Stack, database_url: str, refused_url: str
) -> None:
    settings = make_settings(stack.environment(refused_url))
    async with open_database(settings) as database:
        listener = Listener(settings, database, lambda: None)
        listening = asyncio.create_task(listener.run())
        try:
            await asyncio.sleep(0.3)
            assert not listening.done()
            connection = await asyncpg.connect(database_url)
            await connection.execute(f"ALTER ROLE locked_out LOGIN PASSWORD '{PASSWORD}'")
            await connection.close()

            async def listens() -> bool:
                return listener.hears

            await until(listens, within_s=5)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
