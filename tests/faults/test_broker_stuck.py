"""Faults of the broker: it is frozen or full, or a proxy in front of it never answers."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from deploy.embedded.valkey import EmbeddedValkey
from shared.storage import Storage
from tests.support.faults import PHOTO, SOON, changed, is_whole, make_due, posted, reaches
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack, queue_key
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault

LOG_LATENESS = """
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
    api = await launch(ApiProcess(service.environment, program=changed(LOG_LATENESS, "api")))
    relay, client = service.stack.relay, service.client
    client.base_url = api.url
    assert valkey.child is not None
    frozen = psutil.Process(valkey.child.pid)
    sent = [await posted(service) for _ in range(10)]
    relay.target = api.url
    late = []
    # On a busy machine, an event loop may be late in some of the rounds. A loop that waits for the
    # broker would be late in all of them.
    for _ in range(3):
        before = len(api.log())
        frozen.suspend()
        until_s = time.monotonic() + frozen_s
        try:
            while time.monotonic() < until_s:
                for row, event in sent:
                    async with asyncio.timeout(3):
                        assert await relay.post(event) == 200
                        await client.show(row.id)
                    await asyncio.sleep(0.02)
                # Reset the rows, so that each event will change its row again.
                await service.execute(
                    "UPDATE attachments SET state = 'pending', etag = NULL WHERE state = 'uploaded'"
                )
        finally:
            frozen.resume()
        ticks = sorted(float(each) for each in re.findall(r'LATE (\S+?)"', api.log()[before:]))
        late.append(ticks[int(len(ticks) * 0.99)])
        if late[-1] < 0.1:
            break
    assert min(late) < 0.1
    for _, event in sent:
        assert await relay.post(event) == 200
    await start_worker(service, **SOON)
    for row, _ in sent:
        await reaches(service, row.id, "ready")
        await is_whole(service, storage, row.id, PHOTO)


async def test_f8_a_worker_stops_while_the_broker_is_frozen(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    proxy: Proxy,
    valkey: EmbeddedValkey,
) -> None:
    """The worker ends within the time limit, and releases its upload immediately."""
    service = await start_service(broker_url=valkey.url)
    worker = await start_worker(service, s3_endpoint_url=proxy.url, lease="600")
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    assert valkey.child is not None
    frozen = psutil.Process(valkey.child.pid)
    frozen.suspend()
    try:
        # By operations.md, a worker is killed 15 s after the request to stop.
        assert await worker.stop(within_s=15) == 0
    finally:
        frozen.resume()
    assert (await service.row(attachment_id)).state == "uploaded"
    await start_worker(service, **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f10_while_the_broker_is_full_the_sweep_does_the_work(
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    valkey: EmbeddedValkey,
) -> None:
    # With this grace, the sweep processes only rows that the test makes due. The test does not make
    # the last upload due, so only a wake-up can start its processing.
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
        # When the broker has memory again, it delivers all wake-ups.
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
async def test_f8_a_slow_network_to_the_broker_delays_no_event_and_no_upload(
    stack: Stack,
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
    disturb: Callable[[Proxy], None],
) -> None:
    async with running_proxy(stack.valkey.url) as way:
        # With this grace, the sweep processes only rows that the test makes due. The test does not
        # make the last upload due, so only a wake-up can start its processing.
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
