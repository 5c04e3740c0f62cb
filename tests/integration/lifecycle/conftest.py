"""Fixtures of the tests of an attachment's SQL statements: connections, and an empty table."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.lifecycle import Table
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module")
async def pool(stack: Stack) -> "AsyncIterator[asyncpg.Pool[asyncpg.Record]]":
    """Open ten connections to a database that this test module shares."""
    database_url = await clone_database(stack)
    async with asyncpg.create_pool(database_url, min_size=10, max_size=10) as pool:
        yield pool


@pytest_asyncio.fixture
async def table(pool: "asyncpg.Pool[asyncpg.Record]") -> Table:
    """Return an empty table of attachments."""
    await pool.execute("DELETE FROM attachments")
    return Table(pool)
