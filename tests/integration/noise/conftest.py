"""Fixtures of the tests of request floods: an API process, and a connection to its database."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.support.service import Service
from tests.support.service_processes import ApiProcess


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open a connection to a fresh database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def api(service: Service) -> AsyncIterator[ApiProcess]:
    """Start an API process that logs JSON."""
    process = ApiProcess(service.environment, log_format="json")
    await process.start()
    yield process
    process.close()
