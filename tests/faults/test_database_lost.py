"""Faults of PostgreSQL: connections are closed, or the server is killed."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import asyncpg
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from shared.database import Connection, open_database
from shared.storage import Storage
from tests.support.database_faults import crash, is_taken, is_unavailable
from tests.support.databases import fresh_ids
from tests.support.faults import PHOTO, SOON, is_whole, make_due, posted, reaches
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import Service, running_service, until
from tests.support.service_processes import ApiProcess, WorkerProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault


async def test_f18_a_worker_outlives_its_connections_to_the_database(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(20)]
    worker = await start_worker(service, lease="2", **SOON)
    for _ in range(20):
        await service.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'attachments'"
        )
        await asyncio.sleep(0.02)
    for attachment_id in ids:
        await make_due(service, attachment_id)
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)
    assert worker.process is not None
    assert worker.process.poll() is None


async def test_f18_requests_with_ended_connections_are_served_or_get_503(
    service: Service,
) -> None:
    client = service.client
    path = f"/api/v2/attachments/{(await client.create())['data']['id']}"

    async def served() -> bool:
        return (await client.request("GET", path)).status == 200

    for _ in range(20):
        await service.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'attachments'"
        )
        answers = await asyncio.gather(*(client.request("GET", path) for _ in range(4)))
        assert {answer.status for answer in answers} <= {200, 503}
        assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
        await until(served, within_s=5)


@pytest.mark.parametrize("error", [None, asyncpg.InternalClientError("seen once")])
async def test_f18_a_statement_on_an_ended_connection_is_repeated_once(
    service: Service, error: Exception | None
) -> None:
    calls = 0

    async def ask(connection: Connection) -> int:
        nonlocal calls
        calls += 1
        if calls == 1 and error is not None:
            raise error
        if calls == 1:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return int(await connection.fetchval("SELECT 7"))

    async with open_database(service.settings) as database:
        assert await database.run(ask) == 7
    assert calls == 2


async def test_f18_a_database_that_is_killed_is_used_again_once_it_is_back(
    stack: Stack, postgres: EmbeddedPostgres, launch: Launch, storage: Storage
) -> None:
    async with running_service(stack, postgres.url) as service:
        await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
        api = await launch(ApiProcess(service.environment))
        worker = await launch(WorkerProcess(service.environment, lease="2", **SOON))
        service.client.base_url = api.url
        for _ in range(2):
            row, event = await posted(service)
            await crash(postgres)
            for _ in range(3):
                await is_unavailable(service, event)
            answer = await service.client.request("GET", f"/api/v2/attachments/{row.id}")
            assert answer.status == 503
            await postgres.start()
            back = time.monotonic()
            await until(partial(is_taken, service, event), within_s=10)
            left_s = 10 - (time.monotonic() - back)
            await reaches(service, row.id, "ready", within_s=left_s)
            await is_whole(service, storage, row.id, PHOTO)
        for process in (api.process, worker.process):
            assert process is not None
            assert process.poll() is None


async def test_f18_running_uploads_continue_after_the_database_was_killed_and_is_back(
    stack: Stack, postgres: EmbeddedPostgres, launch: Launch, storage: Storage, proxy: Proxy
) -> None:
    """The worker releases its uploads, and claims them again.

    It does not wait for the end of a lease or for a sweep: both come after the test.
    """
    async with running_service(stack, postgres.url) as service:
        await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {fresh_ids()}")
        worker = await launch(
            WorkerProcess(
                service.environment,
                s3_endpoint_url=proxy.url,
                lease="3600",
                sweep_interval="300",
                log_level="debug",
            )
        )
        proxy.hold()
        ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(5)]
        for attachment_id in ids:
            await reaches(service, attachment_id, "processing")
        await crash(postgres)
        proxy.let_go()
        await until(
            lambda: asyncio.sleep(0, worker.log().count("once the database answers") == len(ids))
        )
        assert worker.log().count("database is unavailable") == 1
        await postgres.start()
        for attachment_id in ids:
            row = await reaches(service, attachment_id, "ready")
            # The outage of the database does not count as an attempt.
            assert (row.revision, row.attempt) == (1, 1)
            await is_whole(service, storage, attachment_id, PHOTO)
        assert await worker.stop() == 0


@pytest.mark.parametrize("away", [Proxy.cut, Proxy.swallow], ids=["reset", "black-hole"])
async def test_f18_a_wake_up_that_finds_the_database_away_is_not_spent(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    database_url: str,
    away: Callable[[Proxy], None],
) -> None:
    async with running_proxy(database_url) as way:
        # With this grace no row becomes due during the test, so no sweep finds one.
        service = await start_service(publish_grace="300")
        worker = await start_worker(service, database_url=way.url, log_level="debug")
        away(way)
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        sent = f'"attachment":{attachment_id}'
        await until(lambda: asyncio.sleep(0, sent in worker.log()))
        way.let_go()
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.attempt) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f18_a_sweep_that_finds_the_database_away_comes_again_soon(
    service: Service, start_worker: StartWorker, storage: Storage, database_url: str
) -> None:
    async with running_proxy(database_url) as way:
        way.cut()
        worker = await start_worker(service, database_url=way.url, sweep_interval="300")
        await until(lambda: asyncio.sleep(0, "database is unavailable" in worker.log()))
        row, _ = await posted(service)
        await make_due(service, row.id)
        way.let_go()
        await reaches(service, row.id, "ready")
        await is_whole(service, storage, row.id, PHOTO)
