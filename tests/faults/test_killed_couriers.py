"""Faults of deliveries of webhooks: workers are killed, and a receiver fails."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from tests.data.images import photo
from tests.support.receiver import SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import StartService, StartWorker

pytestmark = pytest.mark.fault

UPLOADS = 24
KILLS = 4
QUICK = {"lease": "2", "sweep_interval": "0.5", "publish_grace": "1"}


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that answers about every fourth delivery with an error."""
    chance = random.Random(7)

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500 if chance.random() < 0.25 else 204)

    async with running_receiver() as running:
        running.answer = answer
        yield running


async def test_f25_every_change_is_delivered_although_workers_are_killed(
    start_service: StartService, start_worker: StartWorker, receiver: Receiver
) -> None:
    service = await start_service(**SETTINGS, **QUICK)
    await make_webhook(service.client, receiver)
    other = await service.organization()
    async with running_receiver() as others:
        await make_webhook(other, others)
        workers = [await start_worker(service) for _ in range(2)]
        ids, theirs = [], []
        for number in range(UPLOADS):
            ids.append(await service.client.upload(photo(64, 64), f"{number}.jpg"))
            theirs.append(await other.upload(photo(32, 32), f"{number}.jpg"))
            if number % (UPLOADS // KILLS) == 1:
                await restart(workers[number % 2])
        for attachment_id in ids:
            await service.client.settled(attachment_id, within_s=60)
        for attachment_id in ids[::3]:
            await service.client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
        await restart(workers[0])

        async def all_ended() -> bool:
            # Make retries due now that would come minutes later. Other deliveries are due within
            # 41 s: retries after 5 s, and deliveries of killed couriers, whose leases last 40 s.
            await service.execute(
                "UPDATE webhook_deliveries SET due_at = now()"
                " WHERE state = 'pending' AND due_at > now() + interval '41 seconds'"
            )
            return not await service.database.fetchval(
                "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')"
            )

        await until(all_ended, within_s=120, every_s=0.5)
        assert await service.database.fetchval(
            "SELECT bool_and(state = 'delivered') FROM webhook_deliveries"
        )
        for attachment_id in ids:
            wanted = {"attachment.uploaded", "attachment.ready"}
            if attachment_id in ids[::3]:
                wanted.add("attachment.deleted")
            assert wanted <= set(receiver.of(attachment_id))
        assert {each.attachment_id for each in receiver.received} <= set(ids)
        assert {each.attachment_id for each in others.received} <= set(theirs)
        rows = await service.database.fetch("SELECT message_id FROM webhook_deliveries")
        sent = {each.message_id for each in [*receiver.received, *others.received]}
        assert {f"msg_{row['message_id'].hex}" for row in rows} == sent


async def restart(worker: WorkerProcess) -> None:
    """Kill a worker, and start it again."""
    worker.kill()
    await worker.start()
