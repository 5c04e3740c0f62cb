"""Fixtures: the ways by which faults get in, and processes that end with the test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest_asyncio
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from shared.storage import Storage
from tests.conftest import empty_broker
from tests.objects import opened_storage, store_proxy
from tests.proxy import Proxy
from tests.service import ServiceProcess
from tests.stack import Stack

SomeProcess = TypeVar("SomeProcess", bound=ServiceProcess)


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """The bucket."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """A way to the store that can be disturbed."""
    async with store_proxy(stack) as running:
        yield running


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


class Launch(Protocol):
    """Starts a process of the service and gives it back once it runs."""

    async def __call__(self, process: SomeProcess) -> SomeProcess: ...


@pytest_asyncio.fixture
async def launch(stack: Stack) -> AsyncIterator[Launch]:
    """Start processes with changes of the test's own; the broker is empty when it begins."""
    await empty_broker(stack)
    started: list[ServiceProcess] = []

    async def start(process: SomeProcess) -> SomeProcess:
        started.append(process)
        await process.start()
        return process

    yield start
    for process in started:
        process.close()
