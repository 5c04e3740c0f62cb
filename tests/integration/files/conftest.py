"""Fixtures of the tests of files: a client whose uploads a worker processes."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(working: Service) -> Client:
    """Create an organization without attachments; return its client, whose uploads a worker
    processes.
    """
    return await working.organization()
