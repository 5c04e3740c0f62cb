"""Faults of the store: objects change or vanish during processing; answers are late, cut short or
wrong.
"""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from shared import lifecycle
from shared.storage import Storage
from tests.data import images
from tests.support.faults import PHOTO, SOON, closed_port, is_whole, make_due, no_orphans, reaches
from tests.support.objects import exists
from tests.support.proxy import CHUNK_BYTES, Proxy, Stream
from tests.support.service import Service, until
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class KeepingProxy(Proxy):
    """A proxy to the store. From the first DELETE on, it answers every request with 500."""

    async def _ask(self, data: bytes, client: Stream, server: Stream) -> bool:
        if data.startswith(b"DELETE "):
            self.answer(ERROR_500)
        return await super()._ask(data, client, server)


async def test_f17_when_the_store_cannot_be_reached_the_attempts_run_out(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(
        service, s3_endpoint_url=f"http://127.0.0.1:{closed_port()}", attempts="2", **SOON
    )
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "store_unavailable"
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "failed")
    assert (row.reason, row.attempt, row.resized) == ("store_unavailable", 2, False)
    resource = await service.client.show(attachment_id)
    assert resource["meta"]["reason"]["code"] == "store_unavailable"


async def test_f17_failed_uploads_are_processed_by_retry_after_the_store_is_back(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(
        service, s3_endpoint_url=f"http://127.0.0.1:{closed_port()}", attempts="1", **SOON
    )
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "failed")
    await worker.stop()
    await start_worker(service, **SOON)
    async with service.database.acquire() as connection:
        assert await lifecycle.retry(connection, [int(attachment_id)])
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f16_an_upload_over_one_that_is_being_read_is_what_the_row_describes(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.hold()
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    # The file is small: the store has sent all of it to the proxy before the file is replaced.
    first = images.encode(images.noise(100, 60), "JPEG")
    await service.client.post_file(created, first)
    await until(lambda: asyncio.sleep(0, proxy.held))
    second = images.encode(images.noise(200, 300), "JPEG")
    await service.client.post_file(created, second)

    async def sent() -> bool:
        return (await service.row(attachment_id)).revision == 2

    await until(sent)
    proxy.let_go()
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, second)


async def test_f16_an_upload_over_another_is_found_though_its_event_is_lost(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    # The worker checks the object 8 s later. By then the second upload exists.
    await start_worker(service, pending_check="8", **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.client.post_file(created, PHOTO)
    row = await reaches(service, attachment_id, "ready")
    service.stack.relay.target = None
    second = images.encode(images.noise(200, 300), "JPEG")
    await service.client.post_file(created, second)
    # The service does not know of the second upload yet.
    assert (await service.row(attachment_id)).etag == row.etag

    async def described() -> bool:
        row = await service.row(attachment_id)
        return row.state == "ready" and row.size == len(second)

    await until(described, within_s=30)
    await is_whole(service, storage, attachment_id, second)


async def test_f16_an_object_that_is_removed_at_work_is_missing(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url, lease="2", **SOON)
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "processing")
    os.killpg(worker.pid, signal.SIGKILL)
    await storage.delete(row.key)
    await start_worker(service, **SOON)
    row = await reaches(service, attachment_id, "failed")
    assert (row.reason, row.resized) == ("missing", False)


async def test_nothing_is_left_of_a_purged_attachment(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    """A worker processes the upload while it is deleted.

    The purge must come after all of the worker's writes.
    """
    await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "processing")
    answer = await service.client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
    assert answer.status in (200, 204)
    proxy.let_go()
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
    await make_due(service, attachment_id)

    async def purged() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(purged)
    assert not await exists(storage, row.key)
    assert not await exists(storage, row.key.replace("/original/", "/thumb/"))


async def test_f16_an_object_that_is_removed_while_it_is_read_is_missing(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.hold()
    # The file is small: the store has sent all of it to the proxy before the file is removed.
    small = images.encode(images.noise(100, 60), "JPEG")
    attachment_id = await service.client.upload(small, "img.jpg")
    await reaches(service, attachment_id, "processing")
    await until(lambda: asyncio.sleep(0, proxy.held))
    row = await service.row(attachment_id)
    await storage.delete(row.key)

    async def sent() -> bool:
        return (await service.row(attachment_id)).revision > row.revision

    await until(sent)
    proxy.let_go()
    row = await reaches(service, attachment_id, "failed")
    assert (row.reason, row.resized) == ("missing", False)
    assert not await exists(storage, row.key.replace("/original/", "/thumb/"))
    assert worker.process is not None
    assert worker.process.poll() is None


async def test_f16_where_an_object_is_missing_and_the_store_fails_then_it_is_tried_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    first = await start_worker(service)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "ready")
    await first.stop()
    await storage.delete(row.key)
    # Change the row as an event about another upload would change it. That upload's object is
    # missing.
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = revision + 1, attempt = 0,"
        " resized = false, due_at = now() WHERE id = $1",
        row.id,
    )
    way = KeepingProxy(service.stack.seaweedfs.url)
    await way.start()
    try:
        second = await start_worker(service, s3_endpoint_url=way.url, lease="3600", **SOON)
        row = await reaches(service, attachment_id, "uploaded", attempt=1)
        assert row.reason == "store_unavailable"
        await second.stop()
    finally:
        await way.stop()
    await start_worker(service, **SOON)
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "failed")
    assert (row.reason, row.resized) == ("missing", False)
    assert row.thumbnail_key is None or not await exists(storage, row.thumbnail_key)


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda proxy: proxy.answer(ERROR_500), id="500"),
        pytest.param(lambda proxy: proxy.cut(), id="reset"),
        pytest.param(lambda proxy: proxy.truncate(0), id="closed"),
        pytest.param(lambda proxy: proxy.truncate(100), id="truncated-in-head"),
        pytest.param(lambda proxy: proxy.truncate(50_000), id="truncated-in-body"),
        pytest.param(lambda proxy: proxy.swallow(), id="black-hole", marks=pytest.mark.soak),
    ],
)
async def test_f17_a_disturbed_store_costs_attempts_and_no_half_is_believed(
    service: Service,
    start_worker: StartWorker,
    storage: Storage,
    proxy: Proxy,
    disturb: Callable[[Proxy], None],
) -> None:
    await start_worker(service, s3_endpoint_url=proxy.url, attempts="2", **SOON)
    disturb(proxy)
    assert len(PHOTO) > 50_000
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1, within_s=90)
    assert (row.reason, row.resized) == ("store_unavailable", False)
    assert row.checksum_sha256 is None
    assert row.size in (None, len(PHOTO))
    proxy.let_go()
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "ready")
    assert row.attempt == 2
    assert row.size == (await storage.head(row.key)).size
    await is_whole(service, storage, attachment_id, PHOTO)
    await no_orphans(service, storage, attachment_id)


async def test_f17_a_worker_that_never_hears_of_its_thumbnail_stores_it_again(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.delay(1.0)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    # All requests that only read have together fewer than 4000 bytes. So if the proxy has received
    # more bytes, the worker is writing the thumbnail.
    await until(lambda: asyncio.sleep(0, proxy.requested > 4000))
    proxy.hold()
    row = await service.row(attachment_id)
    thumbnail_key = row.thumbnail_key
    assert thumbnail_key is not None
    await until(lambda: exists(storage, thumbnail_key))
    proxy.cut()
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert (row.reason, row.resized) == ("store_unavailable", False)
    proxy.let_go()
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)
    await no_orphans(service, storage, attachment_id)


async def test_f17_a_slow_store_is_waited_for(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    await start_worker(service, s3_endpoint_url=proxy.url, lease="5", **SOON)
    # The proxy delays each piece of the object. So reading takes longer than the lease, and the
    # worker must renew the lease.
    proxy.delay(0.3)
    large = images.encode(images.noise(1800, 1400), "JPEG")
    assert len(large) > 15 * CHUNK_BYTES
    attachment_id = await service.client.upload(large, "img.jpg")
    row = await reaches(service, attachment_id, "ready", within_s=60)
    assert row.attempt == 1
    await is_whole(service, storage, attachment_id, large)
