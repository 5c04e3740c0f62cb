"""Fixtures of the tests of bad events: shared APIs, and a check that no row has changed."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.events import Target, new_row
from tests.support.service import Service, running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """Start an API for the whole test module. No event of the tests may change a row."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield Target(service=service, row=await new_row(service))


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """Return the module's API; assert afterwards that the test has changed no row."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(stack: Stack) -> AsyncIterator[Service]:
    """Start an API that tests share; each test uses only its own attachments."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield service
