"""Fixtures of the tests of copies: APIs that make no copies, and workers with a proxy."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.proxy import Proxy
from tests.support.service import Service
from tests.support.service_processes import WorkerProcess
from tests.support.starting import StartWorker
from tests.support.worker_copies import Start


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the API treat every copy as large, so that only workers make copies."""
    monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 0)


@pytest_asyncio.fixture
async def quiet(service: Service) -> Service:
    """Start an API that receives no events of the store."""
    service.stack.relay.target = None
    return service


@pytest_asyncio.fixture
async def start(proxy: Proxy, start_worker: StartWorker) -> AsyncIterator[Start]:
    """Return a function that starts workers whose requests to the store go through the proxy.

    The workers end with the test. The broker is empty at the start.
    """
    started: list[WorkerProcess] = []

    async def begin(service: Service, program: Any = None, **settings: str) -> WorkerProcess:
        environment = {**service.environment, "ATTACHMENTS_S3_ENDPOINT_URL": proxy.url}
        worker = WorkerProcess(environment, **(program or {}), **settings)
        started.append(worker)
        return await worker.start()

    yield begin
    for worker in started:
        worker.close()
