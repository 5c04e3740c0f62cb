"""The log and the health agree on whether a process is ready and what it waits for."""

import asyncio
import os
import signal
import uuid
from contextlib import suppress

import pytest

from tests.support.faults import PHOTO, SOON, changed, reaches
from tests.support.health import asked, becomes_ready, waits_for
from tests.support.log_lines import named
from tests.support.objects import opened_storage
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import QUEUE_PREFIX
from tests.support.starting import Launch, StartWorker

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("prefix", ["", QUEUE_PREFIX], ids=["no prefix", "a prefix"])
async def test_a_worker_is_ready_when_nothing_is_missing(
    service: Service, start_worker: StartWorker, database_url: str, proxy: Proxy, prefix: str
) -> None:
    bucket = f"made-late-{uuid.uuid4().hex}"
    async with (
        running_proxy(database_url) as database,
        running_proxy(service.stack.valkey.url) as broker,
    ):
        for each in (database, proxy, broker):
            each.cut()
        worker = await start_worker(
            service,
            database_url=database.url,
            s3_endpoint_url=proxy.url,
            s3_bucket=bucket,
            broker_url=broker.url,
            queue_prefix=prefix,
        )
        await waits_for(worker, "worker", "database", "store", "broker")
        database.let_go()
        await waits_for(worker, "worker", "store", "broker")
        proxy.let_go()

        async def has_no_bucket() -> bool:
            return bool((await asked(worker))[1]["parts"]["store"] == "NoSuchBucket")

        await until(has_no_bucket)
        async with opened_storage(service.stack, bucket) as storage:
            await storage._client.create_bucket(Bucket=bucket)
        await waits_for(worker, "worker", "broker")
        broker.let_go()
        await becomes_ready(worker, "worker")
        assert await worker.stop(signal.SIGINT) == 0


PATIENT = changed(
    "import api.ids, shared.liveness\napi.ids.START_S = 60\nshared.liveness.CHECK_S = 0.5", "api"
)
"""The program of an API that begins to listen when it knows the bucket's owner, or after a
minute."""


async def test_an_api_is_ready_when_it_listens_and_may_write(
    service: Service, launch: Launch, database_url: str, proxy: Proxy
) -> None:
    async with running_proxy(database_url) as database:
        proxy.hold()
        urls = {"database_url": database.url, "s3_endpoint_url": proxy.url}
        api = ApiProcess(service.environment, program=PATIENT, **urls)
        api.sign = "metrics are served"
        await launch(api)
        parts = await waits_for(api, "api", "bucket", but=("store",))
        assert parts["bucket"] == "not yet"
        assert not named(api.log(), "api listens")
        database.cut()
        await waits_for(api, "api", "database", "bucket", but=("store",))
        proxy.let_go()
        await waits_for(api, "api", "database")
        assert named(api.log(), "api listens")
        database.let_go()
        await becomes_ready(api, "api")


async def test_a_worker_that_ends_its_uploads_is_not_ready(
    service: Service, start_worker: StartWorker, proxy: Proxy
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    await becomes_ready(worker, "worker")
    proxy.hold()
    held = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, held, "processing")
    os.kill(worker.pid, signal.SIGTERM)

    async def is_stopping() -> bool:
        status, document = await asked(worker)
        return (status, document["status"]) == (503, "stopping")

    await until(is_stopping)
    proxy.let_go()
    await reaches(service, held, "ready")
    assert await worker.stop() == 0


@pytest.mark.parametrize("again", [False, True], ids=["once", "until it ends"])
async def test_a_worker_ends_in_order_however_often_ctrl_c_is_pressed(
    service: Service, start_worker: StartWorker, proxy: Proxy, again: bool
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    await becomes_ready(worker, "worker")
    proxy.hold()
    held = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, held, "processing")
    os.killpg(worker.pid, signal.SIGINT)

    async def stops() -> bool:
        return bool(named(worker.log(), "worker stops"))

    await until(stops)
    ending = asyncio.create_task(worker.ends())
    # Celery checks for signals once a second. A second SIGINT has an effect only after such a
    # check, so the signal is sent repeatedly.
    while again and not ending.done():
        with suppress(ProcessLookupError):  # the process may have just ended
            os.killpg(worker.pid, signal.SIGINT)
        await asyncio.wait([ending], timeout=0.5)
    assert await ending == 0
    assert len(named(worker.log(), "worker stops")) == 1
    # The claim is released, and the attempt does not count.
    row = await service.row(held)
    assert (row.state, row.attempt) == ("uploaded", 0)
