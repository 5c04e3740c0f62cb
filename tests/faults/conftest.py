"""Fixtures of fault tests: the bucket, and brokers to be disturbed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from shared.storage import Storage
from tests.support.objects import opened_storage
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """The bucket."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def broker(stack: Stack) -> "AsyncIterator[redis.asyncio.Redis]":
    """The broker of workers that a test starts."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        yield client


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A broker of the test's own, to be killed, frozen and filled."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    server.kill()
