"""Fixtures of the tests of files: a caller whose uploads are processed."""

import pytest_asyncio

from tests.support.service import Client, Service


@pytest_asyncio.fixture
async def client(working: Service) -> Client:
    """A caller of an organization without attachments, whose uploads are processed."""
    return await working.organization()
