"""Fixtures of the tests of bad requests: one API for each module, and a check of its data."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.bad_requests import Target
from tests.support.databases import clone_database
from tests.support.service import running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """Start an API for the whole test module. Refused requests must store no data."""
    async with running_service(stack, await clone_database(stack)) as service:
        mine = await service.client.create("mine.png", attachable_type="comment", attachable_id=3)
        other = await service.organization()
        theirs = await other.create("theirs.png", attachable_type="comment", attachable_id=3)
        yield Target(service=service, mine=mine["data"]["id"], theirs=theirs["data"]["id"])


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """Return the module's API; assert afterwards that the test has changed no row."""
    before = await target.rows()
    yield target
    assert await target.rows() == before
