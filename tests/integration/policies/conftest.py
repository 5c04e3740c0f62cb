"""Fixtures of policies: a caller whose files no worker waits for."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller whose files no worker waits for."""
    return await running.organization()
