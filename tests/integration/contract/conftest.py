"""Fixtures of the contract: a caller of an organization that has nothing yet."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller of an organization that has nothing yet."""
    return await running.organization()
