"""Tests of log and health while PostgreSQL is frozen, and while SeaweedFS is killed."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio

from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS, Webhook
from tests.support.commands import command
from tests.support.database_faults import deliver
from tests.support.databases import fresh_ids
from tests.support.faults import SOON, posted, reaches
from tests.support.log_lines import Line, named, objects
from tests.support.service import Service, running_service, until
from tests.support.service_processes import ApiProcess, ServiceProcess, WorkerProcess
from tests.support.stack import BUCKET, Stack
from tests.support.starting import Launch, StartService

pytestmark = pytest.mark.fault

GONE_S = 6.0
"""Seconds for which a part is gone: several statements, checks and attempts fail in this time."""


@pytest_asyncio.fixture
async def seaweedfs(stack: Stack, tmp_path: Path) -> AsyncIterator[EmbeddedSeaweedFS]:
    """A store of the test's own, which the test may kill; it has the usual keys and bucket."""
    server = EmbeddedSeaweedFS(
        directory=tmp_path / "store",
        bucket=BUCKET,
        access_key_id=stack.seaweedfs.access_key_id,
        secret_access_key=stack.seaweedfs.secret_access_key,
        webhook=Webhook(url=stack.relay.url, token="unused-by-the-relay"),
    )
    await server.start()
    yield server
    server.kill()


def grave(process: ServiceProcess) -> list[Line]:
    lines = objects(process.log())
    return [each for each in lines if each["level"] in ("error", "critical") or "exception" in each]


async def logs(process: ServiceProcess, event: str) -> None:
    async def found() -> bool:
        return bool(named(process.log(), event))

    await until(found, within_s=40)


def port_of(process: ServiceProcess) -> str:
    """Return the port at which a process serves its health."""
    (line,) = named(process.log(), "metrics are served")
    return str(line["url"]).split(":")[2].partition("/")[0]


async def health(service: Service, process: ServiceProcess, *words: str) -> int:
    """Ask a process for its health as an operator does; return the command's exit status."""
    return (await command(service, "health", *words, metrics_port=port_of(process))).status


async def is_ready(service: Service, process: ServiceProcess) -> bool:
    return await health(service, process, "--ready") == 0


def frozen(postgres: EmbeddedPostgres) -> list[Any]:
    """Stop all processes of the server by SIGSTOP; return them."""
    assert postgres.child is not None
    server = psutil.Process(postgres.child.pid)
    processes = [server, *server.children(recursive=True)]
    for each in processes:
        each.suspend()
    return processes


async def test_a_frozen_database_is_one_line_and_its_return_another(
    stack: Stack, postgres: EmbeddedPostgres, launch: Launch
) -> None:
    async with running_service(stack, postgres.url) as service:
        await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
        worker = await launch(WorkerProcess(service.environment, metrics_port="0", **SOON))
        api = await launch(ApiProcess(service.environment, metrics_port="0"))
        service.client.base_url = api.url
        await logs(worker, "worker is ready")
        row, event = await posted(service)
        processes = frozen(postgres)
        try:
            for _ in range(3):
                assert (await deliver(service, event))[0] == 503
            await logs(worker, "database is unavailable")
            # The processes log nothing in this time, so the test has no event to wait for.
            await asyncio.sleep(GONE_S)
            for process in (worker, api):
                assert len(named(process.log(), "database is unavailable")) == 1
                assert not grave(process)
                assert not await is_ready(service, process)
                assert await health(service, process) == 0
        finally:
            for each in processes:
                each.resume()

        async def taken() -> bool:
            return (await deliver(service, event))[0] == 200

        await until(taken, within_s=30)
        await reaches(service, row.id, "ready")
        for process in (worker, api):
            await logs(process, "database is back")
            await until(partial(is_ready, service, process), within_s=30)
            assert await process.stop() == 0
            assert not grave(process)


async def test_a_killed_store_is_one_line_and_its_return_another(
    start_service: StartService, launch: Launch, seaweedfs: EmbeddedSeaweedFS
) -> None:
    service = await start_service(s3_endpoint_url=seaweedfs.url)
    worker = await launch(WorkerProcess(service.environment, metrics_port="0", **SOON))
    await logs(worker, "worker is ready")
    held = [await posted(service) for _ in range(5)]
    seaweedfs.kill()
    for _, event in held:
        assert (await deliver(service, event))[0] == 200
    await logs(worker, "store is unavailable")

    async def all_tried() -> bool:
        return all([(await service.row(row.id)).attempt for row, _ in held])

    await until(all_tried, within_s=30)
    assert len(named(worker.log(), "store is unavailable")) == 1
    assert not grave(worker)
    assert not await is_ready(service, worker)
    assert await health(service, worker) == 0
    await seaweedfs.start()
    for row, _ in held:
        await reaches(service, row.id, "ready", within_s=60)
    await logs(worker, "store is back")
    await until(partial(is_ready, service, worker), within_s=30)
    assert await worker.stop() == 0
    assert not grave(worker)
