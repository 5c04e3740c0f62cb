"""Fixtures of the tests of the contract: a client of an organization without attachments."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """Create an organization without attachments, and return its client."""
    return await running.organization()
