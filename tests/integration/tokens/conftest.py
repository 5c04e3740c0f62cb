"""Fixtures of the tests of tokens: a token cache whose look-ups can be counted."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from shared import organizations
from shared.database import open_database
from tests.support.proxy import running_proxy
from tests.support.service import make_settings
from tests.support.stack import Stack
from tests.support.token_desk import Counting, Desk


@pytest_asyncio.fixture
async def desk(stack: Stack, database_url: str) -> AsyncIterator[Desk]:
    """Make a token cache for one organization. A proxy is between the cache and the database."""
    direct = await asyncpg.connect(database_url)
    organization_id = await organizations.create_organization(direct, "tests")
    async with running_proxy(database_url) as proxy:
        settings = make_settings(stack.environment(proxy.url))
        async with open_database(settings) as database:
            yield Desk(
                settings=make_settings(stack.environment(database_url)),
                direct=direct,
                proxy=proxy,
                database=Counting(database.pool),
                organization_id=organization_id,
            )
            proxy.let_go()
    await direct.close()
