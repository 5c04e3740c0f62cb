"""Fixtures that all tests share: real servers, a fresh database for each test, APIs and workers."""

import asyncio
import functools
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack
from unittest import mock

import botocore.session
import pytest
import pytest_asyncio
import structlog
from hypothesis import settings

from deploy.embedded import ports
from shared.schema import migrate
from tests.support.checked_answers import check_all, note_here, take_noted, take_undescribed
from tests.support.databases import (
    TEMPLATE,
    clone_database,
    drop_database,
    empty_broker,
    fresh_ids,
)
from tests.support.forked import server
from tests.support.memory_folder import memory_folder
from tests.support.moto_server import Moto, running_moto
from tests.support.objects import store_proxy
from tests.support.proxy import Proxy
from tests.support.scheduling import UnitScheduling, in_order
from tests.support.service import Service, running_service
from tests.support.service_processes import ServiceProcess, WorkerProcess
from tests.support.stack import Stack, running_stack
from tests.support.starting import Launch, SomeProcess, StartService, StartWorker

SHARED_BROKER = 1
"""The number of the broker database that the shared API and worker use. All other processes use
0."""

GARBAGE = 50_000
"""The number of new objects after which Python collects garbage, instead of 700.

Tests make many objects that live long, such as syntax trees of all files. Python would search them
again and again: parsing all files takes 3.4 s of CPU time with 700 objects, and 1.6 s with so many.
"""

settings.register_profile("untimed", deadline=None)  # tests do not measure speed
settings.register_profile("quick", deadline=None, max_examples=20)  # the profile of `make unit`
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Prepare this process for the tests.

    Garbage collection is off until the tests are collected; see `pytest_collection`. Each answer of
    an API is compared with the API's description; see `described_answers`.

    SIGINT is enabled, because a shell that starts the tests in the background ignores SIGINT.

    Variables of AWS and of the service are removed from the environment, because tests choose their
    own settings.

    Each parallel test process uses its own range of ports. Otherwise two processes could find the
    same port free, because a server binds its port only some time later.
    """
    gc.disable()
    check_all(note_here)
    log_plain_tracebacks()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("ATTACHMENTS_", "AWS_"))]:
        del os.environ[name]
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = len(ports.PORTS) // count
    first = ports.PORTS.start + number * share
    ports.PORTS = range(first, first + share)


def log_plain_tracebacks() -> None:
    """Configure structlog as it is by default, but let it print plain tracebacks.

    By default, structlog lets rich print the variables of each function. That takes a second of CPU
    time for each traceback of an API in this process.
    """
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude the modules and the collected tests from all later garbage collections.

    These objects live as long as the process. If each garbage collection searched them, that would
    take a third of the time in which pytest collects the tests.
    """
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(GARBAGE)
        gc.enable()


@pytest.fixture(autouse=True)
def described_answers() -> Iterator[None]:
    """Fail if an answer of an API in this process or its forks does not match the description."""
    yield
    assert [*take_undescribed(), *take_noted(server.faults)] == []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests in the order in which parallel processes run them."""
    if hasattr(config, "workerinput"):
        items[:] = in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> UnitScheduling | None:
    """Run tests that share a fixture in one process; see `tests.support.scheduling`."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return UnitScheduling(config, log)


@pytest.fixture(autouse=True)
def unconfigured_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent an API in this process from configuring the log: that would affect later tests."""
    monkeypatch.setattr("shared.log.configure_logging", lambda *_, **__: None)


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    """Restore the logging configuration of this process after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    log_plain_tracebacks()


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """Cache botocore's models in this process. Otherwise each test's API would read them again."""
    loader = functools.cache(botocore.session.create_loader)
    with mock.patch.object(botocore.session, "create_loader", loader):
        yield


@pytest_asyncio.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Start the real servers, and a migrated database that tests clone."""
    folder = tmp_path_factory.mktemp("stack")
    async with AsyncExitStack() as exits:
        memory = exits.enter_context(memory_folder(folder))
        started = await exits.enter_async_context(running_stack(folder, memory))
        await started.admin.execute(f"CREATE DATABASE {TEMPLATE}")
        await asyncio.to_thread(migrate, started.postgres.database_url(TEMPLATE))
        yield started


@pytest_asyncio.fixture(scope="session")
async def moto() -> AsyncIterator[Moto]:
    """Run moto's server, a stand-in for AWS. Each test makes its own buckets and queues there."""
    async with running_moto() as started:
        yield started


@pytest_asyncio.fixture
async def database_url(stack: Stack) -> AsyncIterator[str]:
    """Return the address of a fresh migrated database, which is deleted after the test."""
    url = await clone_database(stack)
    yield url
    await drop_database(stack, url)


@pytest_asyncio.fixture
async def start_service(stack: Stack, database_url: str) -> AsyncIterator[StartService]:
    """Return a function that starts an API with the test's own settings and its fresh database."""
    async with AsyncExitStack() as exits:

        async def start(**overrides: str) -> Service:
            return await exits.enter_async_context(
                running_service(stack, database_url, **overrides)
            )

        yield start


@pytest_asyncio.fixture
async def service(start_service: StartService) -> Service:
    """Start an API with the usual settings of the tests and a fresh database."""
    return await start_service()


@pytest_asyncio.fixture
async def start_worker(stack: Stack) -> AsyncIterator[StartWorker]:
    """Return a function that starts worker processes, which end with the test.

    The broker is empty when the test starts.
    """
    await empty_broker(stack)
    started: list[WorkerProcess] = []

    async def start(service: Service, **overrides: str) -> WorkerProcess:
        worker = WorkerProcess(service.environment, **overrides)
        started.append(worker)
        await worker.start()
        service.worker_pids.append(worker.pid)
        return worker

    yield start
    for worker in started:
        worker.close()


@pytest_asyncio.fixture(scope="session")
async def running(stack: Stack) -> AsyncIterator[Service]:
    """Start an API and a worker process for all tests that need no settings of their own."""
    database_url = await clone_database(stack)
    broker_url = f"{stack.valkey.url.rpartition('/')[0]}/{SHARED_BROKER}"
    async with running_service(stack, database_url, broker_url=broker_url) as service:
        worker = await WorkerProcess(service.environment).start()
        service.worker_pids.append(worker.pid)
        stack.relay.target = None
        yield service
        worker.close()


@pytest_asyncio.fixture
async def working(running: Service) -> AsyncIterator[Service]:
    """Return the shared API, which has a worker. The store sends events to it during the test."""
    before, running.stack.relay.target = running.stack.relay.target, running.base_url
    # Other tests have stored objects under higher ids than those of this database. So use ids that
    # no test has used.
    await running.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
    yield running
    running.stack.relay.target = before


@pytest_asyncio.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """Start a proxy in front of the store, with which a test can simulate faults."""
    async with store_proxy(stack) as running:
        yield running


@pytest_asyncio.fixture
async def launch(stack: Stack) -> AsyncIterator[Launch]:
    """Return a function that starts processes whose code the test has changed.

    The broker is empty when the test starts.
    """
    await empty_broker(stack)
    started: list[ServiceProcess] = []

    async def start(process: SomeProcess) -> SomeProcess:
        started.append(process)
        await process.start()
        return process

    yield start
    for process in started:
        process.close()
