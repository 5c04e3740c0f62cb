"""A worker that one organization floods: the order of uploads, and uploads that wait."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import pytest
import redis.asyncio

from shared.broker import QUEUES, TASK, make_celery, queue_name
from shared.storage import Storage
from tests.data import images
from tests.support.faults import PHOTO, SOON, decoders, is_whole, reaches
from tests.support.proxy import Proxy
from tests.support.service import Client, Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.stack import QUEUE_PREFIX, queue_key
from tests.support.starting import StartService, StartWorker

pytestmark = pytest.mark.fault

FLOOD = 60
NEVER = "300"
"""A `publish_grace` in seconds. It is longer than a test, so no sweep finds an upload."""

MIB = 1024**2


async def flood(client: Client, count: int = FLOOD) -> list[int]:
    """Upload `count` photos, and return the ids of their attachments."""
    slots = asyncio.Semaphore(8)

    async def one() -> int:
        async with slots:
            return int(await client.upload(PHOTO, "flood.jpg"))

    return await asyncio.gather(*(one() for _ in range(count)))


async def other_of(service: Service, *, shares_queue: bool) -> Client:
    """Create an organization, and return its client.

    If `shares_queue` is true, it has the same queue at the broker as the organization of
    `service.client`, else another queue.
    """
    own = queue_name(service.client.organization_id)
    while True:
        client = await service.organization()
        if (queue_name(client.organization_id) == own) is shares_queue:
            return client


async def queued(broker: "redis.asyncio.Redis", count: int) -> None:
    """Wait until all queues of the broker together hold `count` wake-ups."""

    async def counted() -> bool:
        lengths = [await broker.llen(queue_key(number)) for number in range(QUEUES)]
        return sum(lengths) == count

    await until(counted, within_s=30)


async def begun(service: Service, ids: Sequence[int], *, at_least: int) -> None:
    """Wait until the processing of at least `at_least` of these uploads has begun."""

    async def counted() -> bool:
        count = await service.database.fetchval(
            "SELECT count(*) FROM attachments WHERE id = ANY($1) AND state <> 'uploaded'", ids
        )
        return bool(count >= at_least)

    await until(counted, within_s=30)


async def done_before(service: Service, ids: Sequence[int], attachment_id: int) -> int:
    """Count the uploads in `ids` that were processed before `attachment_id`."""
    return int(
        await service.database.fetchval(
            "SELECT count(*) FROM attachments AS a, attachments AS other WHERE a.id = ANY($1)"
            " AND other.id = $2 AND a.processed_at < other.processed_at",
            ids,
            attachment_id,
        )
    )


@pytest.mark.parametrize("shares_queue", [False, True], ids=["own-queue", "same-queue"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_anothers_upload_is_ready_while_most_of_a_flood_waits(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    broker: "redis.asyncio.Redis",
    workers: int,
    shares_queue: bool,
) -> None:
    service = await start_service(publish_grace=NEVER)
    other = await other_of(service, shares_queue=shares_queue)
    ids = await flood(service.client)
    await queued(broker, FLOOD)
    anothers = int(await other.upload(PHOTO, "img.jpg"))
    await queued(broker, FLOOD + 1)
    await asyncio.gather(
        *(start_worker(service, concurrency="4", decoders="1") for _ in range(workers))
    )
    await reaches(service, anothers, "ready")
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready", within_s=60)
        assert (row.revision, row.attempt) == (1, 1)
    assert await done_before(service, ids, anothers) < FLOOD // 2
    await is_whole(service, storage, anothers, PHOTO)


async def test_a_wake_up_of_an_earlier_release_is_processed_too(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    broker: "redis.asyncio.Redis",
) -> None:
    service = await start_service(publish_grace=NEVER)
    (attachment_id,) = await flood(service.client, 1)
    await queued(broker, 1)
    await broker.flushdb()
    app = make_celery(service.stack.valkey.url, QUEUE_PREFIX)
    await asyncio.to_thread(
        app.send_task, TASK, args=[attachment_id, 1], queue=queue_name(attachment_id)
    )
    await asyncio.to_thread(app.close)
    await start_worker(service)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_a_worker_that_is_killed_amid_a_flood_loses_nothing_that_it_kept(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    proxy: Proxy,
    broker: "redis.asyncio.Redis",
) -> None:
    service = await start_service(publish_grace="2")
    first = await start_worker(
        service, s3_endpoint_url=proxy.url, concurrency="5", lease="2", sweep_interval="300"
    )
    proxy.hold()
    ids = await flood(service.client, 30)
    anothers = int(await (await service.organization()).upload(PHOTO, "img.jpg"))
    await begun(service, ids, at_least=3)
    await queued(broker, 0)  # all waiting wake-ups are now in the worker's memory
    os.killpg(first.pid, signal.SIGKILL)
    first.kill()
    await start_worker(service, **SOON)
    for attachment_id in [*ids, anothers]:
        row = await reaches(service, attachment_id, "ready", within_s=60)
        assert (row.revision, row.claimed_revision) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_a_worker_that_stops_amid_a_flood_releases_waiting_uploads_to_others(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    proxy: Proxy,
    broker: "redis.asyncio.Redis",
) -> None:
    """Another worker gets the uploads long before `publish_grace` is over."""
    service = await start_service(publish_grace=NEVER)
    first = await start_worker(
        service, s3_endpoint_url=proxy.url, concurrency="5", lease="600", sweep_interval="300"
    )
    proxy.hold()
    ids = await flood(service.client, 30)
    await begun(service, ids, at_least=3)
    await queued(broker, 0)
    assert await first.stop() == 0
    await start_worker(service, **SOON)
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready", within_s=60)
        assert row.revision == 1
        await is_whole(service, storage, attachment_id, PHOTO)


def files_on_disk(worker: WorkerProcess) -> list[int]:
    """Return the sizes of the unlinked files in which a worker buffers large uploads."""
    folder = f"/proc/{worker.pid}/fd"
    log = os.stat(f"{folder}/1").st_ino
    # Files are counted by inode, because a decoder's job duplicates the file's descriptor.
    sizes = {}
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # the worker may have closed the descriptor meanwhile
            link, found = os.readlink(f"{folder}/{name}"), os.stat(f"{folder}/{name}")
            on_disk = link.startswith(tempfile.gettempdir()) and link.endswith(" (deleted)")
            if on_disk and found.st_ino != log:
                sizes[found.st_ino] = found.st_size
    return list(sizes.values())


async def test_of_large_files_no_more_are_fetched_than_the_budget_has_room_for(
    service: Service, start_worker: StartWorker
) -> None:
    image = images.encode(images.noise(1500, 1300), "PNG")
    budget = 4 * len(image)
    worker = await start_worker(
        service,
        buffer_bytes=str(budget),
        decoders="1",
        decoder_timeout="120",
    )
    other = await service.organization()
    held = decoders(worker)
    for decoder in held:
        decoder.suspend()
    try:
        ids = [await service.client.upload(image, "flood.png") for _ in range(10)]

        async def fetched(count: int) -> bool:
            return files_on_disk(worker) == [len(image)] * count

        # The worker's byte budget has room for four images. But one organization may use only seven
        # eighths of the budget, so three images fit.
        await until(lambda: fetched(3))
        await until(
            lambda: service.database.fetchval(
                "SELECT count(*) = 10 FROM attachments WHERE state = 'processing'"
            )
        )
        assert await fetched(3)
        ids.append(await other.upload(image, "img.png"))
        await until(lambda: fetched(4))
    finally:
        for decoder in held:
            decoder.resume()
    most = 0
    for attachment_id in ids:
        while (await service.row(attachment_id)).state != "ready":
            most = max(most, sum(files_on_disk(worker)))
            await asyncio.sleep(0.01)
    assert most <= budget


async def test_the_sweep_leaves_a_slot_for_an_organization_that_has_nothing_in_flight(
    start_service: StartService, start_worker: StartWorker
) -> None:
    """The sweep leaves a slot of the worker free, although more uploads of the flood are due."""
    service = await start_service(publish_grace="1")
    worker = await start_worker(
        service, concurrency="8", decoders="1", decoder_timeout="120", sweep_interval="0.5"
    )
    other = await service.organization()
    held = decoders(worker)
    for decoder in held:
        decoder.suspend()
    try:
        await flood(service.client, 20)

        async def in_flight() -> bool:
            return bool(
                await service.database.fetchval(
                    "SELECT count(*) >= 7 FROM attachments WHERE state = 'processing'"
                )
            )

        await until(in_flight, within_s=30)
        await asyncio.sleep(2)  # in this time, four sweeps find the rest of the flood
        # Plain text needs a slot of the worker, but no decoder.
        anothers = int(await other.upload(b"plain words\n", "notes.txt"))
        await reaches(service, anothers, "ready")
        assert await in_flight()
    finally:
        for decoder in held:
            decoder.resume()
