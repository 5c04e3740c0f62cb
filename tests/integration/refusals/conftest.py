"""Fixtures of the tests in which PostgreSQL refuses the service: a role without privileges."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open a connection as the database's owner.

    The role `guest` has no privileges in the database.
    """
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'secret-of-role'")
    yield connection
    await connection.execute("DROP OWNED BY guest; DROP ROLE guest")
    await connection.close()
