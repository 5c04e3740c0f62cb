"""Fixtures of the tests of publishing: a broker for each test, and a publisher."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from shared.publisher import Publisher
from tests.support.publishing import Broker, publishing


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """Start a broker that only this test uses. The test may freeze and kill it."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def broker(valkey: EmbeddedValkey) -> AsyncIterator[Broker]:
    """Open a client of the broker."""
    async with redis.asyncio.from_url(valkey.url) as client:
        yield client


@pytest.fixture
def publisher(valkey: EmbeddedValkey) -> Iterator[Publisher]:
    """Make a publisher that sends to the broker."""
    with publishing(valkey.url) as made:
        yield made
