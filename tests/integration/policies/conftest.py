"""Fixtures of the tests of policies: a client whose uploads no worker processes."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """Create an organization, and return its client. No worker processes its uploads."""
    return await running.organization()
