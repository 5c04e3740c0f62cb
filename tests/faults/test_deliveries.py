"""Faults of the broker's messages: lost with their worker, malformed, or delivered twice."""

import asyncio
import signal
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest
import redis.asyncio

from shared.broker import QUEUES, TASK, make_celery, queue_name
from shared.storage import Storage
from tests.support.faults import (
    PHOTO,
    SOON,
    changed,
    is_whole,
    make_due,
    reaches,
)
from tests.support.proxy import Proxy
from tests.support.service import Service, some_at_once, until
from tests.support.service_processes import WorkerProcess
from tests.support.stack import QUEUE_PREFIX, queue_key
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault

DIE_ON_DELIVERY = """
import os, signal
from worker.app import Messages
Messages.strategy = lambda *_: lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""

LOG_WAKE_UPS = """
from worker.reception import Reception
receive = Reception.receive
def log_wake_up(self, wake_up):
    print("DELIVERED", wake_up.attachment_id, flush=True)
    receive(self, wake_up)
Reception.receive = log_wake_up
"""


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"body": "e30=", "headers": {}, "properties": {}}',
        b'{"body":"W10=","content-encoding":"utf-8","content-type":"application/x-python-serialize",'
        b'"headers":{"task":"attachments.process","id":"1"},'
        b'"properties":{"delivery_info":{},"delivery_tag":"1","body_encoding":"base64"}}',
    ],
    ids=["text", "empty", "array", "null", "bytes", "no-task", "pickle"],
)
async def test_f11_garbage_in_the_queue_stops_no_upload_for_long(
    service: Service,
    start_worker: StartWorker,
    storage: Storage,
    broker: "redis.asyncio.Redis",
    garbage: bytes,
) -> None:
    worker = await start_worker(service, **SOON)
    await broker.lpush(queue_key(service.client.organization_id), garbage)

    async def taken() -> bool:
        lengths = [await broker.llen(queue_key(number)) for number in range(QUEUES)]
        return not any(lengths)

    await until(taken)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    process = worker.process
    assert process is not None

    async def done_or_dead() -> bool:
        return process.poll() is not None or (await service.row(attachment_id)).state == "ready"

    await until(done_or_dead, within_s=30)
    # If the worker has died, restart it as a supervisor would.
    if process.poll() is not None:
        await worker.start()
        await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


@pytest.mark.parametrize(
    "arguments", [["1", 1], [1], [None, None], [1, 1, 1], [2**70, 1], [{}, []]]
)
async def test_f11_a_message_that_names_nothing_of_ours_is_dropped(
    service: Service, start_worker: StartWorker, arguments: list[Any]
) -> None:
    app = make_celery(service.stack.valkey.url, QUEUE_PREFIX)
    await asyncio.to_thread(app.send_task, TASK, args=arguments, queue="attachments-0")
    worker = await start_worker(service)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    assert worker.process is not None
    assert worker.process.poll() is None
    await asyncio.to_thread(app.close)


async def test_f20_a_worker_that_slept_through_its_lease_changes_nothing(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    sleeper = await start_worker(service, s3_endpoint_url=proxy.url, lease="2", **SOON)
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    psutil.Process(sleeper.pid).suspend()
    await make_due(service, attachment_id)
    await start_worker(service, **SOON)
    row = await reaches(service, attachment_id, "ready")
    assert row.attempt > 1  # more than 2 if a lease ended early on a busy machine
    proxy.let_go()
    psutil.Process(sleeper.pid).resume()
    # The resumed worker may still write the thumbnail, or may notice first that its claim is lost.
    # In both cases the row is complete in the end.
    other = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, other, "ready")
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f21_two_workers_share_the_work_and_do_none_twice(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    # This grace is so short that the sweep and the broker compete for each upload.
    service = await start_service(publish_grace="0.1")
    await asyncio.gather(*(start_worker(service, **SOON) for _ in range(2)))
    ids = await some_at_once(service.client.upload(PHOTO, "img.jpg") for _ in range(30))
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.attempt) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f2_a_message_that_dies_with_its_worker_is_made_good_by_the_sweep(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    launch: Launch,
    broker: "redis.asyncio.Redis",
) -> None:
    """The worker dies after it has removed the message from its queue, so the message is lost."""
    service = await start_service(publish_grace="1")
    program = changed(DIE_ON_DELIVERY, "worker")
    dying = await launch(WorkerProcess(service.environment, program=program, sweep_interval="300"))
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    assert dying.process is not None
    assert await asyncio.to_thread(dying.process.wait, 20) == -signal.SIGKILL
    assert (await service.row(attachment_id)).state == "uploaded"
    assert await broker.llen(queue_key(service.client.organization_id)) == 0
    assert await broker.hlen(f"{QUEUE_PREFIX}unacked") == 0
    await start_worker(service, **SOON)
    row = await reaches(service, attachment_id, "ready")
    assert (row.revision, row.attempt) == (1, 1)
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f20_a_message_that_is_delivered_again_while_its_task_runs_changes_nothing(
    service: Service, storage: Storage, launch: Launch, proxy: Proxy
) -> None:
    program = changed(LOG_WAKE_UPS, "worker")
    environment = {**service.environment, "ATTACHMENTS_S3_ENDPOINT_URL": proxy.url}
    workers = [
        await launch(WorkerProcess(environment, program=program, lease="12", **SOON))
        for _ in range(2)
    ]
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    app = make_celery(service.stack.valkey.url, QUEUE_PREFIX)
    queue = queue_name(service.client.organization_id)
    for _ in range(4):
        await asyncio.to_thread(
            app.send_task, TASK, args=[int(attachment_id), 1], queue=queue, ignore_result=True
        )
    await asyncio.to_thread(app.close)

    async def delivered_again() -> bool:
        return sum(worker.log().count("DELIVERED") for worker in workers) >= 5

    await until(delivered_again, within_s=60)
    await asyncio.sleep(13)  # longer than a lease
    row = await service.row(attachment_id)
    assert (row.state, row.attempt) == ("processing", 1)
    proxy.let_go()
    row = await reaches(service, attachment_id, "ready")
    assert (row.revision, row.attempt) == (1, 1)

    async def processed_once() -> bool:
        return sum(worker.log().count('"processed"') for worker in workers) == 1

    await until(processed_once)
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_a_full_queue_holds_up_nothing_that_only_the_sweep_knows(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    ids = await some_at_once(service.client.upload(PHOTO, "img.jpg") for _ in range(60))
    for attachment_id in ids:
        await reaches(service, attachment_id, "uploaded")
    service.stack.relay.target = None
    lost = await service.client.upload(PHOTO, "img.jpg")
    await make_due(service, lost)
    proxy.delay(0.4)
    await start_worker(service, s3_endpoint_url=proxy.url, concurrency="4", **SOON)
    await reaches(service, lost, "ready")
    await is_whole(service, storage, lost, PHOTO)
    rows = [await service.row(attachment_id) for attachment_id in ids]
    # Some uploads of the full queue still wait, so the worker did not process all of them before
    # the upload whose event was lost.
    assert "uploaded" in {row.state for row in rows}
    proxy.let_go()
    for attachment_id in ids:
        await reaches(service, attachment_id, "ready")
