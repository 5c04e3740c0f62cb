"""Faults of the broker: it is dead or unreachable, or it has lost its wake-ups."""

import asyncio
import time

import pytest
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from shared.storage import Storage
from tests.support.faults import PHOTO, SOON, closed_port, is_whole, make_due, posted, reaches
from tests.support.service import until
from tests.support.stack import queue_key
from tests.support.starting import StartService, StartWorker

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
    queue = queue_key(service.client.organization_id)

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
    ("rounds", "away_s"),
    [
        pytest.param(2, 0, id="twice"),
        pytest.param(5, 1, id="five-times", marks=pytest.mark.soak),
        pytest.param(1, 43, id="long", marks=pytest.mark.soak),
    ],
)
async def test_f7_a_broker_that_is_killed_and_comes_back_is_used_again_within_ten_seconds(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
    rounds: int,
    away_s: float,
) -> None:
    # No sweep is due during the test, so only a wake-up can start the processing.
    never = {"broker_url": valkey.url, "publish_grace": "300"}
    service = await start_service(**never)
    worker = await start_worker(service, sweep_interval="300")
    pid, relay, ids = worker.pid, service.stack.relay, []
    for _ in range(rounds):
        target = relay.target
        valkey.kill()
        for _ in range(3):
            row, event = await posted(service)
            relay.target = target
            assert await relay.post(event) == 200
            ids.append(row.id)
        await asyncio.sleep(away_s)
        await valkey.start()
        back = time.monotonic()

        async def consumes(since: int = len(ids)) -> bool:
            ids.append(int(await service.client.upload(PHOTO, "img.jpg")))
            await asyncio.sleep(0.5)
            rows = [await service.row(attachment_id) for attachment_id in ids[since:]]
            return any(row.state == "ready" for row in rows)

        await until(consumes, within_s=10 - (time.monotonic() - back))
    assert worker.process is not None
    assert worker.process.poll() is None
    assert worker.pid == pid
    await start_worker(service, **SOON)
    for attachment_id in ids:
        await make_due(service, attachment_id)
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f9_a_broker_that_is_flushed_while_all_is_at_work_loses_nothing(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
) -> None:
    service = await start_service(broker_url=valkey.url, publish_grace="1")
    await start_worker(service, **SOON)
    uploads = asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(30)))
    async with redis.asyncio.from_url(valkey.url) as client:
        while not uploads.done():
            await client.flushall()
            await asyncio.sleep(0.02)
    for attachment_id in await uploads:
        row = await reaches(service, attachment_id, "ready")
        assert row.revision == 1
        await is_whole(service, storage, attachment_id, PHOTO)


@pytest.mark.soak
async def test_f7_with_the_broker_dead_for_five_minutes_no_upload_waits_longer_than_thirty_seconds(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
) -> None:
    """The limit of thirty seconds is tested with the default settings."""
    service = await start_service(broker_url=valkey.url)
    await start_worker(service)
    valkey.kill()
    ids, dead_until = [], time.monotonic() + 300
    while time.monotonic() < dead_until:
        ids.append(await service.client.upload(PHOTO, "img.jpg"))
        await asyncio.sleep(3)
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready", within_s=40)
        assert row.uploaded_at is not None
        assert row.processed_at is not None
        assert (row.processed_at - row.uploaded_at).total_seconds() <= 30
        await is_whole(service, storage, attachment_id, PHOTO)
    await valkey.start()
    back = time.monotonic()

    async def consumes() -> bool:  # a sweep would find the upload only after 15 s
        last = await service.client.upload(PHOTO, "img.jpg")
        await asyncio.sleep(1)
        return (await service.row(last)).state == "ready"

    await until(consumes, within_s=10 - (time.monotonic() - back))
