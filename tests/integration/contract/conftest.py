"""Fixtures of the tests of the contract: a caller of an organization without attachments."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller of an organization without attachments."""
    return await running.organization()
