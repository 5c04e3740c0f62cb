"""Fixtures: real parts once a session, a fresh database a test, an API and workers on demand."""

import asyncio
import functools
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from typing import Protocol
from unittest import mock

import asyncpg
import botocore.session
import pytest
import pytest_asyncio
import redis.asyncio
from hypothesis import settings

from deploy.embedded import ports
from shared.schema import migrate
from tests.service import Service, WorkerProcess, running_service
from tests.stack import Stack, running_stack

TEMPLATE = "template_attachments"
SHARED_BROKER = 1
"""The broker's database of the API and worker that tests share; all others use 0."""

_numbers = itertools.count(1)


settings.register_profile("untimed", deadline=None)  # speed is for benchmarks to judge
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Let SIGINT be heard: a runner in the background ignores it, and all that it starts.

    Test processes that run side by side choose their servers' ports from ranges of their own: all
    start at one moment, and a port is taken some time after it was found free.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = len(ports.PORTS) // count
    first = ports.PORTS.start + number * share
    ports.PORTS = range(first, first + share)


@pytest.fixture(autouse=True)
def unconfigured_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log of this process as it is: loggers keep for ever what commands first set."""
    monkeypatch.setattr("shared.log.configure_logging", lambda *_, **__: None)


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """Have botocore's models read once a process: each of some thousand APIs would read them."""
    loader = functools.cache(botocore.session.create_loader)
    with mock.patch.object(botocore.session, "create_loader", loader):
        yield


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The real parts, with a migrated database to clone."""
    folder = tmp_path_factory.mktemp("stack")
    async with running_stack(folder) as started:
        connection = await asyncpg.connect(started.postgres.url)
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        await connection.close()
        await asyncio.to_thread(migrate, started.postgres.database_url(TEMPLATE))
        yield started


def fresh_ids() -> int:
    """Give an id from which on no test has used any: all tests share one bucket."""
    return next(_numbers) * 100_000


async def clone_database(stack: Stack) -> str:
    """Make a fresh migrated database, with ids of its own: all tests share one bucket."""
    first = fresh_ids()
    name = f"test_{first}"
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await connection.close()
    url = stack.postgres.database_url(name)
    connection = await asyncpg.connect(url)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {first}")
    await connection.close()
    return url


async def use_deployment_of(stack: Stack, database_url: str) -> None:
    """Give a migrated database the id of the deployment that has the tests' bucket."""
    async with (
        asyncpg.create_pool(stack.postgres.database_url(TEMPLATE), min_size=1) as template,
        asyncpg.create_pool(database_url, min_size=1) as own,
    ):
        await own.execute(
            "UPDATE deployment SET id = $1", await template.fetchval("SELECT id FROM deployment")
        )


@pytest_asyncio.fixture
async def database_url(stack: Stack) -> str:
    """A fresh migrated database."""
    return await clone_database(stack)


class StartService(Protocol):
    """Starts an API; overrides are settings by lower-case name, such as `max_size="10"`."""

    def __call__(self, **overrides: str) -> Awaitable[Service]: ...


@pytest_asyncio.fixture
async def start_service(stack: Stack, database_url: str) -> AsyncIterator[StartService]:
    """Start APIs with settings of the test's own, over its fresh database."""
    async with AsyncExitStack() as exits:

        async def start(**overrides: str) -> Service:
            return await exits.enter_async_context(
                running_service(stack, database_url, **overrides)
            )

        yield start


@pytest_asyncio.fixture
async def service(start_service: StartService) -> Service:
    """An API with the tests' usual settings, over a fresh database."""
    return await start_service()


class StartWorker(Protocol):
    """Starts a worker process; overrides are settings by lower-case name."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[WorkerProcess]: ...


@pytest_asyncio.fixture
async def start_worker(stack: Stack) -> AsyncIterator[StartWorker]:
    """Start worker processes that end with the test; the broker is empty when it begins."""
    await empty_broker(stack)
    started: list[WorkerProcess] = []

    async def start(service: Service, **overrides: str) -> WorkerProcess:
        worker = WorkerProcess(service.environment, **overrides)
        started.append(worker)
        return await worker.start()

    yield start
    for worker in started:
        worker.close()


async def empty_broker(stack: Stack) -> None:
    """Forget what earlier tests have published."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        await client.flushdb()


@pytest_asyncio.fixture(scope="session")
async def running(stack: Stack) -> AsyncIterator[Service]:
    """An API and a worker process that many tests share; for what needs no settings of its own."""
    database_url = await clone_database(stack)
    broker_url = f"{stack.valkey.url.rpartition('/')[0]}/{SHARED_BROKER}"
    async with running_service(stack, database_url, broker_url=broker_url) as service:
        worker = await WorkerProcess(service.environment).start()
        stack.relay.target = None
        yield service
        worker.close()


@pytest_asyncio.fixture
async def working(running: Service) -> AsyncIterator[Service]:
    """The shared API and worker, with the store's events led to them."""
    before, running.stack.relay.target = running.stack.relay.target, running.base_url
    # Its database is older than most: other tests have left objects with higher ids.
    await running.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
    yield running
    running.stack.relay.target = before
