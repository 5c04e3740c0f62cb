"""The metric for autoscaling rises with the load, and falls when another worker starts."""

import asyncio
import os
import signal
from typing import Any

import orjson
import pytest

from shared.backlog import Backlog, measure
from tests.support.faults import SOON, processed
from tests.support.health import becomes_ready
from tests.support.proxy import Proxy
from tests.support.service import Service, some_at_once, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault

UPLOADS = 90
TEXT = b"a text needs no decoder"
LATE_S = 0.1
"""Seconds by which each piece of the store's answers is delayed. So the workers mostly wait for the
store, and the processors are mostly idle."""

DOUBLED = 1.5
"""The doubled load: the number of events that are sent for each upload that the worker processes.

Before it is doubled, the load is 0.75, which one worker can process.
"""

RISE = 6
"""The number of waiting uploads at which the second worker starts to work."""

SLOW = {"concurrency": "3", "publish_grace": "0.2", **SOON}


class Load:
    """Sends events that were held back.

    The number of events depends on the first worker's progress, so the machine's speed does not
    matter.
    """

    def __init__(self, service: Service, worker: WorkerProcess, events: list[Any]) -> None:
        self.events = events
        self._service = service
        self._worker = worker

    @property
    def done(self) -> int:
        """Return the number of uploads that the first worker has processed."""
        return processed(self._worker).total()

    async def until_done(self, count: int) -> None:
        """Wait until the first worker has processed `count` uploads."""
        await until(lambda: asyncio.sleep(0, self.done >= count), within_s=30)

    async def send(self, count: int) -> None:
        """Send `count` events to the API."""
        for _ in range(count):
            assert await self._service.stack.relay.post(orjson.dumps(self.events.pop())) == 200

    async def send_for_each(self, events: float) -> None:
        """Send `events` events each time that the first worker has processed an upload.

        Runs until it is cancelled.
        """
        began, sent = self.done, 0
        while True:
            due = int((self.done - began) * events) - sent
            await self.send(due)
            sent += due
            await asyncio.sleep(0.02)


async def held_events(service: Service) -> list[Any]:
    """Upload files, and return their events, which the API has not received."""
    relay = service.stack.relay
    relay.target, before = None, len(relay.seen)
    ids = await some_at_once(service.client.upload(TEXT, "a.txt") for _ in range(UPLOADS))
    keys = {(await service.row(each)).key for each in ids}

    async def all_seen() -> list[Any] | None:
        found = [each for each in relay.seen[before:] if any(key in each["key"] for key in keys)]
        return found if len(found) == UPLOADS else None

    events: list[Any] = await until(all_seen, within_s=30)
    relay.target = service.base_url
    return events


async def test_the_backlog_rises_with_the_load_and_falls_with_a_second_worker(
    service: Service, start_worker: StartWorker, proxy: Proxy
) -> None:
    async def backlog() -> Backlog:
        async with service.database.acquire() as connection:
            return await measure(connection)

    slow = {"s3_endpoint_url": proxy.url, **SLOW}
    workers = await asyncio.gather(*(start_worker(service, **slow) for _ in range(2)))
    first, second = workers
    for worker in workers:
        await becomes_ready(worker, "worker")
    # The second worker has started already. It is suspended until the load has risen. If it started
    # only after the rise, an unknown number of events would be sent before it is ready.
    os.kill(second.pid, signal.SIGSTOP)
    load = Load(service, first, await held_events(service))
    proxy.delay(LATE_S)

    for number in range(3):  # the usual load: one upload after the other
        await load.send(1)
        await load.until_done(number + 1)
    usual = await backlog()
    assert usual == Backlog(oldest_seconds=0, waiting=0)

    await load.send(1)
    doubled = asyncio.create_task(load.send_for_each(DOUBLED))

    async def has_risen() -> Backlog | None:
        found = await backlog()
        return found if found.waiting >= RISE else None

    async def has_fallen() -> bool:
        found = await backlog()
        return found.waiting <= RISE // 2 and found.oldest_seconds < risen.oldest_seconds

    try:
        risen = await until(has_risen, within_s=60)
        assert risen.oldest_seconds > usual.oldest_seconds
        os.kill(second.pid, signal.SIGCONT)
        await until(has_fallen, within_s=60)
        assert not doubled.done(), "the load has ended, so the fall proves nothing"
    finally:
        doubled.cancel()
        await asyncio.gather(doubled, return_exceptions=True)
    await until(lambda: asyncio.sleep(0, processed(second)))
