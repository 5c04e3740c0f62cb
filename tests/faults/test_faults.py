"""Faults, injected into processes that really run (safety.md, "Fault matrix")."""

import asyncio
import hashlib
import io
import json
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
import redis.asyncio
from PIL import Image

from shared.attachments import Attachment
from shared.broker import QUEUES, queue_name
from shared.storage import Storage
from tests.conftest import StartService, StartWorker
from tests.data import images
from tests.objects import StoreProxy, content, exists, opened_storage, store_proxy
from tests.service import Service, WorkerProcess, until
from tests.stack import BUCKET, Stack

pytestmark = pytest.mark.fault

MIB = 1024 * 1024
SOON = {"sweep_interval": "0.2"}
PHOTO = images.encode(images.noise(700, 500), "JPEG")


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """The bucket."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def proxy(stack: Stack) -> AsyncIterator[StoreProxy]:
    """A way to the store that can be held back."""
    async with store_proxy(stack) as running:
        yield running


@pytest_asyncio.fixture
async def broker(stack: Stack) -> "AsyncIterator[redis.asyncio.Redis]":
    """The broker of workers that a test starts."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        yield client


def closed_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def reaches(
    service: Service, attachment_id: str, *states: str, attempt: int | None = None,
    within_s: float = 30,
) -> Attachment:  # fmt: skip
    """Wait until a row is in one of these states, and at that attempt."""

    async def reached() -> Attachment | None:
        row = await service.row(attachment_id)
        right = row.state in states and attempt in (None, row.attempt)
        return row if right else None

    return await until(reached, within_s=within_s)  # type: ignore[no-any-return]


async def make_due(service: Service, attachment_id: str) -> None:
    """Let the time come at which the sweep looks at a row."""
    await service.execute("UPDATE attachments SET due_at = now() WHERE id = $1", int(attachment_id))


async def is_whole(service: Service, storage: Storage, attachment_id: str, body: bytes) -> None:
    """Assert that a row is ready, and that it and its thumbnail are those of this very file."""
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("ready", None, True)
    assert row.size == len(body)
    assert row.checksum_sha256 == hashlib.sha256(body).hexdigest()
    assert row.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert row.thumbnail_key is not None
    thumbnail = await content(storage, row.thumbnail_key)
    image = Image.open(io.BytesIO(thumbnail))
    original = Image.open(io.BytesIO(body))
    assert (row.width, row.height) == original.size
    assert abs(image.width / image.height - original.width / original.height) < 0.02


def decoders(worker: WorkerProcess) -> list[psutil.Process]:
    """Find the decoders of a worker."""
    return [
        child for child in psutil.Process(worker.pid).children() if "worker.box" in child.cmdline()
    ]


# --- what is lost on the way ------------------------------------------------------------------


async def test_f14_an_upload_whose_event_is_lost_is_found_by_the_sweep(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(pending_check="0.5")
    service.stack.relay.target = None
    await start_worker(service, pending_check="0.5", **SOON)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)
    assert (await service.row(attachment_id)).revision == 1


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


# --- who dies ---------------------------------------------------------------------------------


async def test_f1_what_a_killed_worker_had_begun_is_done_by_another(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
) -> None:
    first = await start_worker(service, s3_endpoint_url=proxy.url, lease="2", **SOON)
    proxy.hold()
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(6)]
    for attachment_id in ids:
        await reaches(service, attachment_id, "processing")
    os.killpg(first.pid, signal.SIGKILL)
    await start_worker(service, **SOON)
    outputs = set()
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.claimed_revision) == (1, 1)
        assert row.attempt >= 2
        await is_whole(service, storage, attachment_id, PHOTO)
        assert row.thumbnail_key is not None
        outputs.add(await content(storage, row.thumbnail_key))
    assert len(outputs) == 1


async def test_f1_a_killed_worker_leaves_no_decoder_behind(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    boxes = decoders(worker)
    assert len(boxes) == 2
    worker.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, boxes, 10)
    assert alive == []


async def test_f3_a_worker_that_is_told_to_stop_under_load_loses_nothing(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    first = await start_worker(service, **SOON)
    ids = await asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(20)))

    async def begun() -> bool:
        rows = [await service.row(attachment_id) for attachment_id in ids]
        return any(row.state in ("processing", "ready") for row in rows)

    await until(begun, every_s=0.01)
    assert await first.stop() == 0
    rows = [await service.row(attachment_id) for attachment_id in ids]
    assert {row.state for row in rows} <= {"uploaded", "ready"}  # nothing is held by the dead
    await start_worker(service, **SOON)
    await service.execute("UPDATE attachments SET due_at = now() WHERE state = 'uploaded'")
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert row.revision == 1
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f3_what_takes_too_long_is_given_back_at_once(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
) -> None:
    first = await start_worker(service, s3_endpoint_url=proxy.url, lease="600")
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    await first.stop()
    assert (await service.row(attachment_id)).state == "uploaded"
    await start_worker(service, **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f4_an_upload_whose_decoder_dies_is_tried_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, **SOON)
    for box in decoders(worker):
        box.kill()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "decoder_died"
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "ready")
    assert row.attempt == 2
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f4_one_whose_decoder_always_dies_has_failed_in_the_end(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, attempts="2", decoders="1", **SOON)
    attachment_id = ""
    for attempt in (1, 2):
        for box in decoders(worker):
            box.suspend()
        if attempt == 1:
            attachment_id = await service.client.upload(PHOTO, "img.jpg")
        else:
            await make_due(service, attachment_id)
        await reaches(service, attachment_id, "processing", attempt=attempt)
        await until(lambda: asyncio.sleep(0, len(decoders(worker)) == 1))
        for box in decoders(worker):
            box.kill()
        await reaches(service, attachment_id, "uploaded", "failed", attempt=attempt)
        # another upload is none the worse, and has a new decoder started
        other = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, other, "ready")
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("failed", "decoder_died", False)


async def test_f5_a_decoder_that_hangs_is_killed_and_frees_its_place(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, decoder_timeout="1", decoders="1")
    (box,) = decoders(worker)
    box.suspend()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "rejected")
    assert (row.reason, row.attempt) == ("decoder_timeout", 1)
    assert not box.is_running()
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")


async def test_f20_a_worker_that_slept_through_its_lease_changes_nothing(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
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


async def test_f18_a_worker_outlives_its_connections_to_the_database(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    ids = await asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(20)))
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


# --- the store --------------------------------------------------------------------------------


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


async def test_f17_what_failed_is_done_when_the_store_is_back_and_it_is_asked_for(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(
        service, s3_endpoint_url=f"http://127.0.0.1:{closed_port()}", attempts="1", **SOON
    )
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "failed")
    await worker.stop()
    await start_worker(service, **SOON)
    from shared import processing

    async with service.database.acquire() as connection:
        assert await processing.retry(connection, [int(attachment_id)])
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f16_an_upload_over_one_that_is_being_read_is_what_the_row_describes(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
) -> None:
    await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
    proxy.hold()
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    first = images.encode(images.noise(100, 60), "JPEG")  # small: it is read before it is replaced
    await service.client.post_file(created, first)
    await until(lambda: asyncio.sleep(0, proxy.held))
    second = images.encode(images.noise(200, 300), "JPEG")
    await service.client.post_file(created, second)

    async def told() -> bool:
        return (await service.row(attachment_id)).revision == 2

    await until(told)
    proxy.let_go()
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, second)


async def test_f16_an_upload_over_another_is_found_though_its_event_is_lost(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.client.post_file(created, PHOTO)
    row = await reaches(service, attachment_id, "ready")
    assert row.due_at is not None  # the store is asked once more when the policy has ended
    service.stack.relay.target = None
    second = images.encode(images.noise(200, 300), "JPEG")
    await service.client.post_file(created, second)
    await make_due(service, attachment_id)

    async def described() -> bool:
        row = await service.row(attachment_id)
        return row.state == "ready" and row.size == len(second)

    await until(described)
    await is_whole(service, storage, attachment_id, second)


async def test_f16_an_object_that_is_removed_at_work_is_missing(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
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


# --- events -----------------------------------------------------------------------------------


def aws_event(row: Attachment, etag: str, sequencer: str) -> bytes:
    """Write an event as S3 does."""
    return json.dumps({
        "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Post",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"},
                "object": {"key": row.key, "size": 1, "eTag": etag, "sequencer": sequencer},
            },
        }]
    }).encode()  # fmt: skip


async def test_f15_an_event_that_comes_ten_times_has_one_effect(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service)
    relay = service.stack.relay
    relay.seen.clear()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    before = await reaches(service, attachment_id, "ready")
    bodies = [json.dumps(item).encode() for item in relay.seen] * 10
    random.Random(1).shuffle(bodies)
    assert len(bodies) >= 10
    assert set(await asyncio.gather(*(relay.post(body) for body in bodies))) <= {200, 202, 204}
    assert await service.row(attachment_id) == before


async def test_f15_of_shuffled_events_the_newest_counts(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    relay, created = service.stack.relay, await service.client.create("img.jpg")
    target, relay.target = relay.target, None
    row = await service.row(created["data"]["id"])
    bodies, etags = [], []
    for number in range(4):
        body = images.encode(images.noise(100 + number, 80), "JPEG")
        await service.client.post_file(created, body)
        etags.append(hashlib.md5(body, usedforsecurity=False).hexdigest())
        bodies.append(body)
    events = [aws_event(row, etag, f"{number:016X}") for number, etag in enumerate(etags, 1)] * 10
    random.Random(2).shuffle(events)
    await start_worker(service, **SOON)
    relay.target = target
    await asyncio.gather(*(relay.post(event) for event in events))

    async def settled() -> bool:
        found = await service.row(row.id)
        return found.state == "ready" and found.sequencer == f"{4:016X}"

    await until(settled)
    await is_whole(service, storage, str(row.id), bodies[-1])
    before = await service.row(row.id)
    await asyncio.gather(*(relay.post(event) for event in events))
    assert await service.row(row.id) == before


# --- policies that end ------------------------------------------------------------------------


async def test_a_policy_that_nobody_used_expires(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        int(attachment_id),
    )
    await reaches(service, attachment_id, "expired")
    # An upload that was begun in time may still end: it is looked for once more.
    service.stack.relay.target = None
    row = await service.row(attachment_id)
    assert row.due_at is not None
    await storage.write(row.key, PHOTO, content_type="image/jpeg")
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_an_expired_attachment_is_looked_at_once_more_and_then_no_longer(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        int(attachment_id),
    )
    await reaches(service, attachment_id, "expired")
    await make_due(service, attachment_id)

    async def at_rest() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(at_rest)
    assert (await service.row(attachment_id)).state == "expired"


async def test_an_event_of_a_late_upload_is_enough(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    row = await service.row(created["data"]["id"])
    await service.execute(
        "UPDATE attachments SET state = 'expired', due_at = NULL,"
        " policy_expires_at = now() - interval '1 day' WHERE id = $1",
        row.id,
    )
    await storage.write(row.key, PHOTO, content_type="image/jpeg")
    await reaches(service, str(row.id), "ready")
    await is_whole(service, storage, str(row.id), PHOTO)


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["film.bin", "film.jpg"])
async def test_a_large_file_that_is_no_image_is_neither_downloaded_nor_held(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy, name: str
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url)
    process = psutil.Process(worker.pid)
    await reaches(service, await service.client.upload(b"some words\n" * 9000, name), "ready")
    before, received = process.memory_info().rss, proxy.received
    created = await service.client.create(name)
    row = await service.row(created["data"]["id"])
    size = 300 * MIB
    part, parts = 50 * MIB, []
    client = storage._client
    upload = await client.create_multipart_upload(Bucket=BUCKET, Key=row.key)
    for number in range(1, size // part + 1):
        answer = await client.upload_part(
            Bucket=BUCKET, Key=row.key, UploadId=upload["UploadId"], PartNumber=number,
            Body=io.BytesIO(bytes(part)),
        )  # fmt: skip
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    await client.complete_multipart_upload(
        Bucket=BUCKET, Key=row.key, UploadId=upload["UploadId"],
        MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
    )  # fmt: skip

    most = 0

    async def ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return (await service.row(row.id)).state == "ready"

    await until(ended, every_s=0.005, within_s=60)
    await storage.delete(row.key)
    assert (await service.row(row.id)).size == size
    assert most - before < 32 * MIB
    # sockets hold some of what is not wanted any more; what is named like an image is read ahead
    assert proxy.received - received < (20 * MIB if name.endswith("jpg") else 2 * MIB)


async def test_a_large_image_is_never_held_in_memory(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service)
    process = psutil.Process(worker.pid)
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
    before = process.memory_info().rss
    body = images.encode(images.noise(6000, 4000), "PNG")
    assert len(body) > 32 * MIB
    created = await service.client.create("img.png")
    row = await service.row(created["data"]["id"])
    await storage._client.put_object(Bucket=BUCKET, Key=row.key, Body=io.BytesIO(body))
    most = 0

    async def ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return (await service.row(row.id)).state == "ready"

    await until(ended, every_s=0.005, within_s=60)
    await is_whole(service, storage, str(row.id), body)
    assert most - before < 32 * MIB


async def test_nothing_is_left_of_a_purged_attachment(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: StoreProxy
) -> None:
    """Deleted while a worker has it: whatever that still writes, the purge comes after."""
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
