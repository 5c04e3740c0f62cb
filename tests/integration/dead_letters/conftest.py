"""Fixtures of the tests of dead letters: one API for each module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.service import Service, running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_service(stack: Stack) -> AsyncIterator[Service]:
    """Start an API for the whole test module."""
    async with running_service(stack, await clone_database(stack)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: Service) -> Service:
    """Delete all dead letters, and return the module's API."""
    await shared_service.execute("TRUNCATE dead_letters")
    return shared_service
