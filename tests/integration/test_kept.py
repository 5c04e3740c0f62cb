"""A caller may keep its connection between statements until another caller needs a connection."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from shared.database import Connection, Database, DatabaseAway, open_database
from shared.kept import KEPT_USES, Kept, Lease
from shared.settings import Settings
from tests.support.service import make_settings, until
from tests.support.stack import Stack


async def session(connection: Connection) -> int:
    """Return the process id of the PostgreSQL backend that serves a connection."""
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def sleep(connection: Connection, seconds: float) -> int:
    """Keep a connection busy; return the process id of the backend that served it."""
    await connection.execute("SELECT pg_sleep($1)", seconds)
    return await session(connection)


async def end(connection: Connection, *processes: int) -> None:
    """End the sessions of these backends, as an operator would."""
    for process in processes:
        await connection.execute("SELECT pg_terminate_backend($1)", process)


@pytest.fixture
def settings(stack: Stack, database_url: str) -> Settings:
    """Return settings with a fresh database."""
    return make_settings(stack.environment(database_url))


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Open a pool of two connections."""
    async with open_database(settings, size=2) as opened:
        yield opened


async def test_statements_one_after_another_take_one_connection(database: Database) -> None:
    served = {await database.run(session) for _ in range(2 * KEPT_USES + 10)}
    assert len(served) == 1
    assert database.pool.get_size() == 1


async def test_a_connection_that_is_not_used_goes_back(database: Database) -> None:
    await asyncio.gather(*(database.run(sleep, 0.05) for _ in range(2)))

    async def idle() -> bool:
        return database.pool.get_idle_size() == 2

    await until(idle)


async def test_a_returned_connection_goes_to_a_waiting_caller(database: Database) -> None:
    served = await asyncio.gather(*(database.run(sleep, 0.01) for _ in range(60)))
    assert len(set(served)) == 2
    # The pool can give out both connections, so no caller has kept a connection.
    async with database.pool.acquire(), database.pool.acquire():
        with pytest.raises(DatabaseAway):
            await database.run(session)
    assert await database.run(session) in served


async def test_a_connection_that_the_server_ended_is_replaced(
    database: Database, settings: Settings
) -> None:
    ended = set(await asyncio.gather(*(database.run(sleep, 0.05) for _ in range(2))))
    async with open_database(settings) as other:
        await other.run(end, *ended)
    served = await asyncio.gather(*(database.run(sleep, 0.01) for _ in range(20)))
    assert not ended & set(served)


async def test_a_statement_that_was_cut_off_leaves_nothing_to_the_next(database: Database) -> None:
    for _ in range(5):
        with pytest.raises(DatabaseAway):
            await database.run_within(0.02, sleep, 3.0)
        assert await database.run(session)


async def test_an_open_transaction_is_not_handed_on(database: Database) -> None:
    async def begin(connection: Connection) -> None:
        await connection.execute("BEGIN")

    async def in_transaction(connection: Connection) -> bool:
        return bool(connection.is_in_transaction())

    await database.run(begin)
    assert not await database.run(in_transaction)


async def test_closing_waits_for_no_kept_connection(settings: Settings) -> None:
    async with open_database(settings, size=2) as opened:
        running = asyncio.create_task(opened.run(sleep, 0.2))
        await opened.run(session)
        await asyncio.sleep(0.05)
    assert await running
    assert opened.pool.get_size() == 0


async def test_a_connection_in_use_serves_nothing_more_once_another_server_is_the_primary(
    database: Database,
) -> None:
    async def refused(_connection: Connection) -> None:
        raise asyncpg.ReadOnlySQLTransactionError

    running = asyncio.create_task(database.run(sleep, 0.5))
    old = {await database.run(session)}
    with pytest.raises(DatabaseAway):
        await database.run(refused)
    old.add(await running)
    assert len(old) == 2
    served = await asyncio.gather(*(database.run(sleep, 0.05) for _ in range(10)))
    assert not old & set(served)


async def test_a_connection_that_cannot_go_back_loses_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back, refusals = Kept.give_back, ["once"]

    async def fail_once(kept: Kept, lease: Lease) -> None:
        await give_back(kept, lease)
        if refusals:
            refusals.pop()
            raise TimeoutError

    await asyncio.gather(*(database.run(sleep, 0.05) for _ in range(2)))
    monkeypatch.setattr(Kept, "give_back", fail_once)
    await database._kept.renew()
    assert database.pool.get_idle_size() + 2 - database.pool.get_size() == 2
    async with database.pool.acquire(timeout=2), database.pool.acquire(timeout=2):
        pass
