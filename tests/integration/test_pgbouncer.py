"""PgBouncer in front of PostgreSQL in both pool modes, otherwise with its defaults."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from api.database_listener import Listener
from shared.connector import Connector
from shared.database import SERVER_SETTINGS, Connection, open_database
from shared.role_settings import find_missing, set_on_role
from shared.schema import migrate
from tests.data.images import photo
from tests.support.commands import command
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer, running_pgbouncer
from tests.support.service import make_settings, until
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

pytestmark = needs_pgbouncer

MODES = ("transaction", "session")


@pytest_asyncio.fixture(params=MODES)
async def bouncer(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str
) -> AsyncIterator[PgBouncer]:
    """Run PgBouncer in each of its pool modes."""
    async with running_pgbouncer(tmp_path, database_url, mode=request.param) as running:
        yield running


async def test_the_whole_life_of_an_upload_goes_through_pgbouncer(
    start_service: StartService, start_worker: StartWorker, bouncer: PgBouncer, database_url: str
) -> None:
    service = await start_service(database_url=bouncer.url(database_url))
    worker = await start_worker(service, sweep_interval="1")
    client = service.client
    ready = await client.request("GET", "/health/ready")
    assert ready.status == 200

    ids = await asyncio.gather(*(client.upload(photo(), f"{n}.jpg") for n in range(12)))
    resources = await asyncio.gather(*(client.settled(each) for each in ids))
    assert {each["meta"]["state"] for each in resources} == {"ready"}

    listed = await client.request("GET", "/api/v2/attachments?page[size]=5&sort=-id")
    assert listed.document["meta"]["total_count"] == 12
    usage = await client.request("GET", "/api/v2/usage")
    assert usage.status == 200
    renamed = {"data": {"type": "attachments", "id": ids[0], "attributes": {"name": "b.png"}}}
    answer = await client.request("PATCH", f"/api/v2/attachments/{ids[0]}", renamed)
    assert answer.status == 200
    assert (await client.request("DELETE", f"/api/v2/attachments/{ids[0]}")).status == 204
    assert (await client.request("GET", f"/api/v2/attachments/{ids[0]}")).status == 404
    shown = await command(service, "show", ids[1], "--json")
    assert shown.status == 0, shown.err
    assert "Traceback" not in worker.log()
    assert "database is unavailable" not in worker.log()
    assert '"level":"error"' not in worker.log()


async def test_commands_go_through_pgbouncer(
    start_service: StartService, bouncer: PgBouncer, database_url: str
) -> None:
    service = await start_service(database_url=bouncer.url(database_url))
    await service.client.upload(photo(), "a.jpg")

    for arguments in (
        ("migrate",),
        ("usage", "--recount", "--json"),
        ("tokens", "list", "--organization", "1"),
        ("organizations", "create", "more"),
        ("events", "list"),
        ("retry", "--failed"),
    ):
        ended = await command(service, *arguments)
        assert ended.status == 0, (arguments, ended.err)
    # The bucket may also contain objects of other tests. If the command lists any of them, its exit
    # status is 1.
    ended = await command(service, "reconcile", "--json")
    assert ended.status in (0, 1)
    assert ended.err == ""
    await forget_role_settings(database_url)


async def test_an_empty_database_is_migrated_through_pgbouncer_side_by_side(
    stack: Stack, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS behind_pooler")
    await connection.execute("CREATE DATABASE behind_pooler")
    await connection.close()
    direct = stack.postgres.database_url("behind_pooler")
    async with running_pgbouncer(tmp_path, direct, mode="transaction") as running:
        context = multiprocessing.get_context("spawn")
        url = running.url(direct)
        processes = [context.Process(target=migrate, args=(url,)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join, 60)
        assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    connection = await asyncpg.connect(direct)
    assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert await connection.fetchval(held) == 0
    await connection.close()


async def test_a_schema_that_the_address_names_is_used_through_pgbouncer(
    stack: Stack, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS behind_pooler")
    await connection.execute("CREATE DATABASE behind_pooler")
    await connection.close()
    direct = stack.postgres.database_url("behind_pooler")
    connection = await asyncpg.connect(direct)
    await connection.execute("CREATE SCHEMA mine")
    async with running_pgbouncer(tmp_path, direct, mode="transaction") as running:
        url = f"{running.url(direct)}?search_path=mine&unheard_of=1"
        await asyncio.to_thread(migrate, url)
        assert "search_path" in await set_on_role(url)
    assert await connection.fetchval("SELECT to_regclass('mine.attachments')") == "mine.attachments"
    assert await connection.fetchval("SELECT to_regclass('public.attachments')") is None
    await connection.close()


async def test_the_settings_that_pgbouncer_refuses_are_set_on_the_role(
    stack: Stack, bouncer: PgBouncer, database_url: str
) -> None:
    url = f"{bouncer.url(database_url)}?options=-c%20search_path%3Dpublic,pg_catalog&no_setting=1"
    wanted = Connector(url, SERVER_SETTINGS).role_settings
    try:
        names = await set_on_role(url)
        assert set(names) == {*SERVER_SETTINGS, "search_path"} - {"application_name"}
        # A session gets the role's settings when it starts. Open a new session: one that PgBouncer
        # opened before still has the old settings.
        session = await asyncpg.connect(database_url)
        assert await session.fetchval("SHOW statement_timeout") == "5s"
        assert await find_missing(session, wanted) == []
        await session.execute("SET statement_timeout = 0")
        assert await find_missing(session, wanted) == ["statement_timeout"]
        await session.close()
    finally:
        await forget_role_settings(database_url)


async def test_settings_are_set_on_the_role_by_several_side_by_side(
    tmp_path: Path, database_url: str
) -> None:
    async with running_pgbouncer(tmp_path, database_url, mode="transaction") as running:
        url = running.url(database_url)
        try:
            for _ in range(3):
                await forget_role_settings(database_url)
                found = await asyncio.gather(*(set_on_role(url) for _ in range(8)))
                assert all("statement_timeout" in names for names in found)
        finally:
            await forget_role_settings(database_url)


async def forget_role_settings(database_url: str) -> None:
    """Remove the settings of the database role, because all tests share this role."""
    session = await asyncpg.connect(database_url)
    database = await session.fetchval("SELECT quote_ident(current_database())")
    await session.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database} RESET ALL")
    await session.close()


async def test_nothing_is_set_on_the_role_without_a_pooler(database_url: str) -> None:
    assert await set_on_role(database_url) == []
    connection = await asyncpg.connect(database_url)
    found = await connection.fetchval(
        "SELECT count(*) FROM pg_db_role_setting AS s"
        " JOIN pg_database AS d ON d.oid = s.setdatabase WHERE d.datname = current_database()"
    )
    await connection.close()
    assert found == 0


async def test_a_revoked_token_ends_within_five_seconds_with_pgbouncer(
    start_service: StartService, bouncer: PgBouncer, database_url: str
) -> None:
    service = await start_service(database_url=bouncer.url(database_url))
    client = service.client
    assert (await client.request("GET", "/api/v2/attachments")).status == 200
    await service.execute("UPDATE tokens SET revoked_at = now()")

    async def refused() -> bool:
        return (await client.request("GET", "/api/v2/attachments")).status == 401

    await until(refused, within_s=6)


async def test_clients_that_wait_are_answered_through_pgbouncer(
    start_service: StartService, bouncer: PgBouncer, database_url: str
) -> None:
    service = await start_service(database_url=bouncer.url(database_url))
    attachment_id = (await service.client.create())["data"]["id"]
    path = f"/api/v2/attachments/{attachment_id}?wait=25"
    task = asyncio.create_task(service.client.request("GET", path))

    async def waits() -> bool:
        return service.waiters.count == 1

    await until(waits)
    await service.execute("UPDATE attachments SET state = 'ready'")

    assert (await task).data["meta"]["state"] == "ready"


async def test_a_direct_address_hears_of_tokens_beside_pgbouncer(
    stack: Stack, bouncer: PgBouncer, database_url: str
) -> None:
    pooled = stack.environment(bouncer.url(database_url))
    settings = make_settings({**pooled, "ATTACHMENTS_DATABASE_DIRECT_URL": database_url})
    changes = []
    async with open_database(settings) as database:
        listener = Listener(settings, database, lambda: changes.append(1))
        task = asyncio.create_task(listener.run())

        async def hears() -> bool:
            return listener.hears

        await until(hears)
        changes.clear()
        await database.run(revoke_all)

        async def heard() -> bool:
            return bool(changes)

        await until(heard)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def revoke_all(connection: Connection) -> None:
    """Revoke all tokens; PostgreSQL then notifies every API process."""
    await connection.execute("UPDATE tokens SET revoked_at = now()")


async def test_without_a_direct_address_nothing_listens_through_pgbouncer(
    stack: Stack, bouncer: PgBouncer, database_url: str
) -> None:
    settings = make_settings(stack.environment(bouncer.url(database_url)))
    async with open_database(settings) as database:
        await asyncio.wait_for(Listener(settings, database, lambda: None).run(), 10)
        channels = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert await database.run(lambda connection: connection.fetchval(channels)) == 0


async def ask(connection: Connection, number: int) -> Any:
    """Run one of many statements that differ in text and types, and return its number."""
    query = f"SELECT $1::int + {number}" if number % 2 else f"SELECT $1::text || '{number}'"
    value = 0 if number % 2 else ""
    return int(await connection.fetchval(query, value))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("", id="defaults"),
        # Here, PgBouncer accepts all startup parameters of the service. So the service notices
        # PgBouncer only when a prepared statement fails.
        pytest.param(
            "ignore_startup_parameters = attachments.session,statement_timeout,lock_timeout,jit,"
            "idle_in_transaction_session_timeout",
            id="hidden",
        ),
    ],
)
async def test_statements_of_many_sessions_are_not_mixed_up(
    stack: Stack, tmp_path: Path, database_url: str, more: str
) -> None:
    more = f"default_pool_size = 3\n{more}"
    async with running_pgbouncer(tmp_path, database_url, mode="transaction", more=more) as running:
        settings = make_settings(stack.environment(running.url(database_url)))
        async with open_database(settings) as database:
            for _ in range(3):
                numbers = range(60)
                found = await asyncio.gather(*(database.run(ask, each) for each in numbers))
                assert found == list(numbers)
