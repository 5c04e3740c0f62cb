"""Fixtures of the tests of refusals by PostgreSQL: a role without privileges."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection as the owner of the database, in which a role `guest` has no privileges."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'secret-of-role'")
    yield connection
    await connection.execute("DROP OWNED BY guest; DROP ROLE guest")
    await connection.close()
