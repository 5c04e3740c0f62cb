"""Fixtures of bad events: shared APIs, and the proof that nothing changed."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.events import Target, new_row
from tests.support.service import Service, running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """One API for the whole module: nothing in it has an effect."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield Target(service=service, row=await new_row(service))


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """The same, and proof that the test stored and changed nothing."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(stack: Stack) -> AsyncIterator[Service]:
    """One API for all that concerns only attachments of the test's own."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield service
