"""Fixtures of the fault tests: the bucket, and servers that a test may break."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis.asyncio

from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.valkey import EmbeddedValkey
from shared.schema import migrate
from shared.storage import Storage
from tests.support.databases import use_deployment_of
from tests.support.objects import opened_storage
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the service."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def broker(stack: Stack) -> "AsyncIterator[redis.asyncio.Redis]":
    """Open a client of the broker that the test's workers use."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        yield client


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """Start a broker that only this test uses. The test may kill, suspend or fill it."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture
async def postgres(stack: Stack, tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Start a PostgreSQL that only this test uses, and may kill.

    A service that uses this database has the same bucket as other services.
    """
    # This server syncs to disk, unlike the usual one, because the test may kill it.
    server = EmbeddedPostgres(directory=tmp_path / "postgres")
    await server.start()
    await asyncio.to_thread(migrate, server.url)
    await use_deployment_of(stack, server.url)
    yield server
    server.kill()
