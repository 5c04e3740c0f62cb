"""Tests of the log while the broker, the database or the store is unavailable.

The log must have few lines and no traceback.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import redis.asyncio

from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.valkey import EmbeddedValkey
from tests.support.database_faults import crash
from tests.support.databases import fresh_ids
from tests.support.faults import PHOTO, SOON, closed_port, reaches
from tests.support.log_lines import Line, named, objects
from tests.support.proxy import Proxy
from tests.support.service import Service, running_service, until
from tests.support.service_processes import ApiProcess, ServiceProcess, WorkerProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartWorker

pytestmark = pytest.mark.fault

LOST = "broker is unavailable; the sweep takes over"
GONE_S = 8.0
"""Seconds for which a part is unavailable in these tests: the time of four attempts to
reconnect.
"""


def grave(process: ServiceProcess) -> list[Line]:
    """Return the log lines that alert an operator, and the lines with a traceback."""
    lines = objects(process.log())
    return [each for each in lines if each["level"] in ("error", "critical") or "exception" in each]


async def logs(process: ServiceProcess, event: str, times: int = 1) -> None:
    async def found() -> bool:
        return len(named(process.log(), event)) >= times

    await until(found, within_s=30)


async def killed(valkey: EmbeddedValkey) -> Callable[[], Awaitable[None]]:
    valkey.kill()
    return valkey.start


async def frozen(valkey: EmbeddedValkey) -> Callable[[], Awaitable[None]]:
    assert valkey.child is not None
    pid = valkey.child.pid
    os.kill(pid, signal.SIGSTOP)

    async def thaw() -> None:
        os.kill(pid, signal.SIGCONT)

    return thaw


async def read_only(valkey: EmbeddedValkey) -> Callable[[], Awaitable[None]]:
    async def command(*words: str) -> None:
        async with redis.asyncio.from_url(valkey.url) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]  # in redis-py

    await command("REPLICAOF", "127.0.0.1", str(closed_port()))
    return partial(command, "REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("lose", [killed, frozen, read_only], ids=lambda each: each.__name__)
async def test_a_lost_broker_is_one_line_and_its_return_another(
    service: Service,
    launch: Launch,
    valkey: EmbeddedValkey,
    lose: Callable[[EmbeddedValkey], Awaitable[Callable[[], Awaitable[None]]]],
) -> None:
    worker = await launch(
        WorkerProcess(service.environment, broker_url=valkey.url, publish_grace="1", **SOON)
    )
    api = await launch(ApiProcess(service.environment, broker_url=valkey.url, publish_grace="1"))
    service.stack.relay.target = api.url
    await logs(worker, "worker is ready")
    held = [await service.client.upload(PHOTO, "img.jpg") for _ in range(10)]
    find_back = await lose(valkey)
    held += [await service.client.upload(PHOTO, "img.jpg") for _ in range(10)]
    for attachment_id in held:
        await reaches(service, attachment_id, "ready")
    # An idle worker notices a frozen broker only after kombu's own limits.
    noticing = api if lose is frozen else worker
    await logs(noticing, LOST)
    # The process logs nothing in this time, so the test has no event to wait for.
    await asyncio.sleep(GONE_S)
    for process in (api, worker):
        assert len(named(process.log(), LOST)) <= 1
    assert not grave(worker)
    assert not grave(api)

    await find_back()
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
    await logs(noticing, "broker is back")
    assert await worker.stop() == 0
    assert await api.stop() == 0
    assert not grave(worker)
    assert len([each for each in objects(worker.log()) if each["level"] == "warning"]) <= 3


async def test_a_killed_database_is_one_line_in_each_process(
    stack: Stack, postgres: EmbeddedPostgres, launch: Launch
) -> None:
    async with running_service(stack, postgres.url) as service:
        await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
        worker = await launch(WorkerProcess(service.environment, lease="2", **SOON))
        api = await launch(ApiProcess(service.environment))
        service.client.base_url = api.url
        await logs(worker, "worker is ready")
        await crash(postgres)
        for _ in range(30):
            answer = await service.client.request("GET", "/api/v2/attachments")
            assert answer.status in (401, 503)
        await logs(worker, "database is unavailable")
        await asyncio.sleep(GONE_S / 2)
        for process in (worker, api):
            assert len(named(process.log(), "database is unavailable")) == 1
            assert not grave(process)
        await postgres.start()
        await logs(worker, "database is back")

        async def answered() -> bool:
            return (await service.client.request("GET", "/api/v2/attachments")).status == 200

        await until(answered)
        await logs(api, "database is back")
        for process in (worker, api):
            assert await process.stop() == 0
            assert not grave(process)


async def test_a_store_that_refuses_connections_is_one_line(
    service: Service, start_worker: StartWorker, proxy: Proxy
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.cut()
    held = [await service.client.upload(PHOTO, "img.jpg") for _ in range(10)]
    for attachment_id in held:
        await reaches(service, attachment_id, "uploaded", attempt=1)
    assert len(named(worker.log(), "store is unavailable")) == 1
    proxy.let_go()
    for attachment_id in held:
        await reaches(service, attachment_id, "ready")
    await logs(worker, "store is back")
    assert await worker.stop() == 0
    assert not grave(worker)
