"""Fixtures of the tests that send random events: one API for each test module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.events import Target, new_row
from tests.support.service import Service, running_service
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """Start an API for the whole test module, with one attachment that no test may change."""
    async with running_service(stack, await clone_database(stack)) as service:
        yield Target(service=service, row=await new_row(service))


@pytest_asyncio.fixture(loop_scope="session")
async def service(target: Target) -> Service:
    """Return the module's shared API, for tests that create their own attachments."""
    return target.service
