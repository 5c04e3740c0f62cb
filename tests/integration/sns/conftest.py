"""Fixtures of the tests of SNS: a server that acts as SNS, and APIs that trust it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.support.amazon import Amazon, running_amazon
from tests.support.databases import clone_database
from tests.support.dialects import TOPIC
from tests.support.service import Service, running_service
from tests.support.sns_site import OTHER_TOPIC, Site, StartSite
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def amazon() -> AsyncIterator[Amazon]:
    """Start a server that acts as SNS. The module shares it, because making its keys takes long."""
    async with running_amazon() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def start_site(stack: Stack, amazon: Amazon) -> AsyncIterator[StartSite]:
    """Return a function that starts APIs with settings of the test.

    The certificate cache of each API is empty.
    """
    async with AsyncExitStack() as exits:

        async def start(**overrides: str) -> Site:
            service = await exits.enter_async_context(
                running_service(
                    stack,
                    await clone_database(stack),
                    amazon.connector(),
                    **{"sns_topics": f"{TOPIC},{OTHER_TOPIC}", **overrides},
                )
            )
            site = Site(service=service, amazon=amazon)
            site.forget()
            return site

        amazon.replies.clear()
        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_service(stack: Stack, amazon: Amazon) -> AsyncIterator[Service]:
    """Start an API for all tests of refused messages."""
    async with running_service(
        stack,
        await clone_database(stack),
        amazon.connector(),
        sns_topics=f"{TOPIC},{OTHER_TOPIC}",
        sns_signature_versions="1,2",
    ) as service:
        yield service


@pytest.fixture
def site(shared_service: Service, amazon: Amazon) -> Site:
    """Return the shared API and the server that acts as SNS.

    The API may have cached this server's usual certificate already.
    """
    amazon.replies.clear()
    shared = Site(service=shared_service, amazon=amazon)
    shared.forget()
    return shared
