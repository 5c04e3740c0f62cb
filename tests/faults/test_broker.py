"""Faults of the broker: dead, frozen, full, forgetful, and what it delivers twice or in pieces."""

import asyncio
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import redis.asyncio

from shared.broker import QUEUES, queue_name
from shared.storage import Storage
from tests.conftest import StartService, StartWorker
from tests.faults.rows import PHOTO, SOON, closed_port, is_whole, make_due, reaches
from tests.proxy import Proxy
from tests.service import Service, until

pytestmark = pytest.mark.fault


async def test_f12_a_wake_up_that_was_never_published_is_made_good(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(
        broker_url=f"redis://127.0.0.1:{closed_port()}/0", publish_grace="0.5"
    )
    await start_worker(service, broker_url=service.stack.valkey.url, **SOON)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f9_wake_ups_that_the_broker_forgets_are_made_good(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    broker: "redis.asyncio.Redis",
) -> None:
    service = await start_service(publish_grace="0.5")
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(5)]
    queue = queue_name(service.client.organization_id)

    async def published() -> bool:
        return int(await broker.llen(queue)) == len(ids)

    await until(published)
    await broker.flushall()
    await start_worker(service, **SOON)
    for attachment_id in ids:
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f7_with_no_broker_at_all_the_sweep_does_the_work(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(
        broker_url=f"redis://127.0.0.1:{closed_port()}/0", publish_grace="0.1"
    )
    worker = await start_worker(service, **SOON)
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(5)]
    for attachment_id in ids:
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)
    await worker.stop()


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
    await broker.lpush(queue_name(service.client.organization_id), garbage)

    async def taken() -> bool:
        lengths = [await broker.llen(f"attachments-{number}") for number in range(QUEUES)]
        return not any(lengths)

    await until(taken)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    process = worker.process
    assert process is not None

    async def done_or_dead() -> bool:
        return process.poll() is not None or (await service.row(attachment_id)).state == "ready"

    await until(done_or_dead, within_s=30)
    if process.poll() is not None:  # its supervisor starts it again
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
    from shared.broker import TASK, make_celery

    app = make_celery(service.stack.valkey.url)
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
    assert row.attempt == 2
    proxy.let_go()
    psutil.Process(sleeper.pid).resume()
    # whatever it still does: in the end there is one row, whole, and nobody at work on it
    other = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, other, "ready")
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f21_two_workers_share_the_work_and_do_none_twice(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(publish_grace="0.1")  # so that sweep and broker compete
    await asyncio.gather(*(start_worker(service, **SOON) for _ in range(2)))
    ids = await asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(30)))
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.attempt) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)
