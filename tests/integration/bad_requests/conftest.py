"""Fixtures of bad requests: one API for a module, and the proof that nothing changed."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.bad_requests import Target
from tests.support.databases import clone_database
from tests.support.service import running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """One API for the whole module: nothing that is refused leaves a trace."""
    async with running_service(stack, await clone_database(stack)) as service:
        mine = await service.client.create("mine.png", attachable_type="comment", attachable_id=3)
        other = await service.organization()
        theirs = await other.create("theirs.png", attachable_type="comment", attachable_id=3)
        yield Target(service=service, mine=mine["data"]["id"], theirs=theirs["data"]["id"])


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """The same, and proof that the test stored and changed nothing."""
    before = await target.rows()
    yield target
    assert await target.rows() == before
