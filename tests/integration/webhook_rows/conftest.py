"""Fixtures of the tests of webhooks' SQL statements: a database with an organization."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.database import Database, open_database
from shared.organizations import create_organization
from tests.support.service import make_settings
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def database(stack: Stack, database_url: str) -> AsyncIterator[Database]:
    """Open a fresh database, and create organization 1 in it."""
    async with open_database(make_settings(stack.environment(database_url))) as opened:
        await opened.run(create_organization, "tests", 1)
        yield opened
