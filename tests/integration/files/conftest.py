"""Fixtures of files: a caller whose uploads are processed."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(working: Service) -> Client:
    """A caller of an organization that has nothing yet, whose uploads are processed."""
    return await working.organization()
