"""Indexes are built after the migrations, while other processes write to the table."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from shared.index_builds import INDEXES, build_indexes
from tests.support.service import until

VALID = "SELECT i.indexrelid::regclass::text FROM pg_index AS i WHERE i.indisvalid"


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """Open a connection to a database whose indexes are missing."""
    plain = await asyncpg.connect(database_url)
    for name in INDEXES:
        await plain.execute(f"DROP INDEX {name}")
    yield plain
    await plain.close()


async def insert(connection: Any) -> None:
    """Insert an attachment."""
    await connection.execute(
        "INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at)"
        " VALUES (1, 'b', 'a', 'a', now())"
    )


async def built(connection: Any) -> set[str]:
    """Return the names of the indexes that `build_indexes` has made and that are valid."""
    return {row[0] for row in await connection.fetch(VALID)} & set(INDEXES)


async def test_several_processes_may_build_at_once(database_url: str, connection: Any) -> None:
    await asyncio.gather(*(build_indexes(database_url) for _ in range(4)))

    assert await built(connection) == set(INDEXES)


async def test_an_interrupted_build_is_repeated(database_url: str, connection: Any) -> None:
    first, *_ = INDEXES
    await insert(connection)
    await insert(connection)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            f"CREATE UNIQUE INDEX CONCURRENTLY {first} ON attachments (organization_id)"
        )
    assert await built(connection) == set()

    await build_indexes(database_url)

    assert await built(connection) == set(INDEXES)
    definition = await connection.fetchval("SELECT pg_get_indexdef($1::text::regclass)", first)
    assert "UNIQUE" not in definition


async def test_writes_go_on_during_a_build(database_url: str, connection: Any) -> None:
    other = await asyncpg.connect(database_url)
    transaction = other.transaction()
    await transaction.start()
    await insert(other)  # the build must wait for this transaction
    build = asyncio.create_task(build_indexes(database_url))

    async def waits() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_progress_create_index"))

    await until(waits)
    await connection.execute("SET lock_timeout = '1s'")
    await insert(connection)
    assert not build.done()
    await transaction.commit()
    await build
    await other.close()

    assert await built(connection) == set(INDEXES)
