"""Fixtures of the tests of events: one API for each test module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.service import Service, running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(stack: Stack) -> AsyncIterator[Service]:
    """Start an API for the whole test module; each test creates its own attachments."""
    async with running_service(stack, await clone_database(stack)) as running:
        yield running
