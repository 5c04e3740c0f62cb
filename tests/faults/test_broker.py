"""Faults of the broker: dead, frozen, full, forgetful, out of reach."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from deploy.embedded.valkey import EmbeddedValkey
from shared.storage import Storage
from tests.support.faults import (
    PHOTO,
    SOON,
    changed,
    closed_port,
    is_whole,
    make_due,
    posted,
    reaches,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import ApiProcess, until
from tests.support.stack import Stack, queue_key
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault

TELL_LATENESS = """
import asyncio, time
from api import app
async def tick():
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        print("LATE", time.monotonic() - began - 0.01, flush=True)
make = app.make_runner
def make_runner(*args, **named):
    global ticking
    ticking = asyncio.get_running_loop().create_task(tick())
    return make(*args, **named)
app.make_runner = make_runner
"""


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
    # no sweep: what is done, the broker has brought about
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


@pytest.mark.parametrize("frozen_s", [2.0, pytest.param(40.0, marks=pytest.mark.soak)])
async def test_f8_while_the_broker_is_frozen_the_api_answers_as_ever(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    launch: Launch,
    valkey: EmbeddedValkey,
    frozen_s: float,
) -> None:
    service = await start_service(broker_url=valkey.url, publish_grace="1")
    api = await launch(ApiProcess(service.environment, program=changed(TELL_LATENESS, "api")))
    relay, client = service.stack.relay, service.client
    client.base_url = api.url
    assert valkey.child is not None
    frozen = psutil.Process(valkey.child.pid)
    told = [await posted(service) for _ in range(10)]
    relay.target = api.url
    late = []
    # A machine that is busy with other things is late, too, now and then; a loop that waits for
    # the broker is late with each event, and by as long as that is frozen.
    for _ in range(3):
        before = len(api.log())
        frozen.suspend()
        until_s = time.monotonic() + frozen_s
        try:
            while time.monotonic() < until_s:
                for row, event in told:
                    async with asyncio.timeout(3):
                        assert await relay.post(event) == 200
                        await client.show(row.id)
                    await asyncio.sleep(0.02)
                await service.execute(  # so that each event counts anew
                    "UPDATE attachments SET state = 'pending', etag = NULL WHERE state = 'uploaded'"
                )
        finally:
            frozen.resume()
        lines = api.log()[before:].splitlines()[1:-1]
        ticks = sorted(float(line.split()[1]) for line in lines if line[:4] == "LATE")
        late.append(ticks[int(len(ticks) * 0.99)])
        if late[-1] < 0.1:
            break
    assert min(late) < 0.1
    for _, event in told:
        assert await relay.post(event) == 200
    await start_worker(service, **SOON)
    for row, _ in told:
        await reaches(service, row.id, "ready")
        await is_whole(service, storage, row.id, PHOTO)


async def test_f8_a_worker_is_told_to_stop_while_the_broker_is_frozen(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    proxy: Proxy,
    valkey: EmbeddedValkey,
) -> None:
    """It ends before it would be killed, and what it had is another's to take at once."""
    service = await start_service(broker_url=valkey.url)
    worker = await start_worker(service, s3_endpoint_url=proxy.url, lease="600")
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    assert valkey.child is not None
    frozen = psutil.Process(valkey.child.pid)
    frozen.suspend()
    try:
        assert await worker.stop(within_s=15) == 0  # the time before a kill of operations.md
    finally:
        frozen.resume()
    assert (await service.row(attachment_id)).state == "uploaded"
    await start_worker(service, **SOON)
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


async def test_f10_while_the_broker_is_full_the_sweep_does_the_work(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
) -> None:
    # nothing but the sweep, once it is let, and nothing but the broker, once it has room
    service = await start_service(broker_url=valkey.url, publish_grace="300")
    worker = await start_worker(service, **SOON)
    relay = service.stack.relay
    target, ids = relay.target, []
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.config_set("maxmemory", "2mb")
        with suppress(ResponseError):
            for number in range(4000):
                await client.set(f"ballast-{number}", bytes(1024))
        with pytest.raises(ResponseError, match="maxmemory"):
            await client.set("one-more", bytes(1024))
        for _ in range(5):
            row, event = await posted(service)
            relay.target = target
            assert await relay.post(event) == 200
            ids.append(row.id)
            await make_due(service, row.id)
        for attachment_id in ids:
            row = await reaches(service, attachment_id, "ready")
            assert (row.revision, row.attempt) == (1, 1)
            await is_whole(service, storage, attachment_id, PHOTO)
        # with room again, wake-ups go through it again, and none is left over
        await client.config_set("maxmemory", "0")
        last = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, last, "ready")

        async def drained() -> bool:
            return not await client.llen(queue_key(service.client.organization_id))

        await until(drained)
    assert worker.process is not None
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda proxy: proxy.cut(), id="reset"),
        pytest.param(lambda proxy: proxy.swallow(), id="black-hole"),
        pytest.param(lambda proxy: proxy.hold(), id="no-answers"),
        pytest.param(lambda proxy: proxy.truncate(20), id="truncated"),
    ],
)
async def test_f8_what_is_between_us_and_the_broker_holds_up_no_event_and_no_upload(
    stack: Stack,
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    disturb: Callable[[Proxy], None],
) -> None:
    async with running_proxy(stack.valkey.url) as way:
        # nothing but the sweep, once it is let, and nothing but the broker, once it is back
        service = await start_service(broker_url=way.url, publish_grace="300")
        worker = await start_worker(service, **SOON)
        relay, ids = service.stack.relay, []
        target = relay.target
        await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
        disturb(way)
        for _ in range(3):
            row, event = await posted(service)
            relay.target = target
            async with asyncio.timeout(3):
                assert await relay.post(event) == 200
            ids.append(row.id)
            await make_due(service, row.id)
        for attachment_id in ids:
            row = await reaches(service, attachment_id, "ready")
            assert (row.revision, row.attempt) == (1, 1)
            await is_whole(service, storage, attachment_id, PHOTO)
        way.let_go()
        last = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, last, "ready")
        assert worker.process is not None
        assert worker.process.poll() is None


@pytest.mark.soak
async def test_f7_with_the_broker_dead_for_five_minutes_no_upload_waits_longer_than_thirty_seconds(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
) -> None:
    """With the settings as they are by default."""
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

    async def consumes() -> bool:  # the sweep would come after fifteen seconds
        last = await service.client.upload(PHOTO, "img.jpg")
        await asyncio.sleep(1)
        return (await service.row(last)).state == "ready"

    await until(consumes, within_s=10 - (time.monotonic() - back))
