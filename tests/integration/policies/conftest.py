"""Fixtures of the tests of policies: a caller whose uploads no worker processes."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller whose uploads no worker processes."""
    return await running.organization()
