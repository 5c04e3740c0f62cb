"""Faults of PostgreSQL: a silent or frozen server, and locked tables."""

import asyncio
import time

import asyncpg
import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from shared.storage import Storage
from tests.support.database_faults import is_taken, is_unavailable
from tests.support.faults import PHOTO, SOON, is_whole, posted, reaches
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import Service, running_service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartWorker

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("silent_before", [False, True], ids=["in-use", "from-the-start"])
async def test_f18_a_silent_database_is_given_up_after_its_timeout(
    stack: Stack,
    database_url: str,
    start_worker: StartWorker,
    storage: Storage,
    silent_before: bool,
) -> None:
    async with running_proxy(database_url) as way, running_service(stack, way.url) as service:
        row, event = await posted(service)
        healthy = {"database_url": database_url}
        if not silent_before:
            await service.client.show(row.id)  # opens a connection before the fault
        way.swallow()
        await is_unavailable(service, event)
        way.let_go()
        await until(lambda: is_taken(service, event), within_s=10)
        await start_worker(service, **healthy)
        await reaches(service, row.id, "ready")
        await is_whole(service, storage, row.id, PHOTO)


async def test_f18_a_worker_stops_while_the_database_is_silent(
    service: Service, start_worker: StartWorker, storage: Storage, database_url: str, proxy: Proxy
) -> None:
    """The worker ends within the time limit.

    Its upload is processed when the lease is over.
    """
    async with running_proxy(database_url) as way:
        worker = await start_worker(
            service, database_url=way.url, s3_endpoint_url=proxy.url, lease="3"
        )
        proxy.hold()
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, attachment_id, "processing")
        way.swallow()
        await worker.stop(within_s=15)  # operations.md gives a worker 15 s to stop
        assert "Traceback" not in worker.log()
    await start_worker(service, **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f18_a_database_that_is_frozen_is_not_waited_for(
    stack: Stack, postgres: EmbeddedPostgres
) -> None:
    async with running_service(stack, postgres.url) as service:
        _, event = await posted(service)
        assert postgres.child is not None
        server = psutil.Process(postgres.child.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            await is_unavailable(service, event)
        finally:
            for process in processes:
                process.resume()
        await until(lambda: is_taken(service, event), within_s=10)


async def test_f19_a_locked_table_delays_only_requests_that_need_it(
    service: Service, start_worker: StartWorker, storage: Storage, launch: Launch
) -> None:
    worker = await start_worker(service, lease="2", **SOON)
    api = await launch(ApiProcess(service.environment))
    client = service.client
    client.base_url = api.url
    row, event = await posted(service)
    show = f"/api/v2/attachments/{row.id}"
    lock = await asyncpg.connect(service.settings.database_url.get_secret_value())
    try:
        async with lock.transaction():
            await lock.execute("LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            asked = [asyncio.create_task(client.request("GET", show)) for _ in range(50)]
            while not all(task.done() for task in asked):
                await is_unavailable(service, event)
            # A request first waits for a connection, then for the lock. Each wait has a timeout.
            assert time.monotonic() - began < 30
            for task in asked:
                answer = await task
                assert answer.status == 503
                assert "Retry-After" in answer.headers
    finally:
        await lock.close()
    await until(lambda: is_taken(service, event), within_s=5)
    answers = await asyncio.gather(*(client.request("GET", show) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    count = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND application_name = 'attachments'"""
    assert await service.database.fetchval(count) <= 2 * service.settings.database_pool
    await reaches(service, row.id, "ready")
    await is_whole(service, storage, row.id, PHOTO)
    assert worker.process is not None
    assert worker.process.poll() is None
