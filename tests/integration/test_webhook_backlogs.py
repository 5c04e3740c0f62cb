"""A courier with many due deliveries: when one delivery ends, the courier starts the next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from shared.database import open_database
from shared.log import get_logger
from shared.throttle import Throttle
from tests.support.receiver import SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import Service, until
from tests.support.starting import StartService
from worker.jobs import Jobs
from worker.webhooks.courier import open_courier
from worker.webhooks.windows import WIDEST

NEVER = "300"
"""A sweep interval, in seconds, that is longer than a test."""


class Busy:
    """A handler for a receiver. At each request, `counts` gets the number of open requests."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.now = 0
        self.counts: list[int] = []

    async def answer(self, _request: web.Request) -> web.StreamResponse:
        """Wait a moment, then answer with `status`."""
        self.now += 1
        self.counts.append(self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        return web.Response(status=self.status, text="body" if self.status == 200 else None)


@asynccontextmanager
async def running_courier(service: Service) -> AsyncIterator[None]:
    """Run a worker's courier. No event from outside wakes the courier."""
    jobs = Jobs()
    async with (
        open_database(service.settings) as database,
        open_courier(
            service.settings, database, jobs, Throttle(get_logger("tests").warning)
        ) as courier,
    ):
        assert courier is not None
        running = asyncio.create_task(courier.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await jobs.end(within_s=10)


async def queue(service: Service, webhook_id: str, count: int) -> None:
    """Queue test events of a webhook in one statement."""
    await service.execute(
        "INSERT INTO webhook_deliveries (webhook_id, organization_id, message_id, event)"
        " SELECT $1, $2, gen_random_uuid(), 'webhook.test' FROM generate_series(1, $3)",
        int(webhook_id),
        service.client.organization_id,
        count,
    )


async def states(service: Service) -> dict[str, int]:
    """Count the deliveries that have been attempted, by state."""
    rows = await service.database.fetch(
        "SELECT state, count(*) FROM webhook_deliveries WHERE attempted_at IS NOT NULL GROUP BY 1"
    )
    return {row["state"]: row["count"] for row in rows}


@pytest.mark.parametrize(
    ("status", "concurrency", "count"),
    [
        pytest.param(204, "512", 5 * WIDEST, id="as many as the window"),
        pytest.param(200, "512", 5 * WIDEST, id="answers with a body"),
        pytest.param(204, "3", 40, id="few slots"),
    ],
)
async def test_a_backlog_is_delivered_although_nothing_wakes_the_courier(
    start_service: StartService, status: int, concurrency: str, count: int
) -> None:
    service = await start_service(**SETTINGS, sweep_interval=NEVER, webhook_concurrency=concurrency)
    busy = Busy(status)
    async with running_receiver() as receiver:
        receiver.answer = busy.answer
        await queue(service, await make_webhook(service.client, receiver), count)

        async with running_courier(service):

            async def all_delivered() -> bool:
                return await states(service) == {"delivered": count}

            await until(all_delivered, within_s=60)

        assert_each_came_once(receiver, count)
    assert 1 < max(busy.counts) <= min(WIDEST, int(concurrency))


def assert_each_came_once(receiver: Receiver, count: int) -> None:
    """Check that a receiver got `count` deliveries, each of them once."""
    assert len(receiver.received) == count
    assert len({each.message_id for each in receiver.received}) == count


async def test_a_failing_receiver_gets_its_backlog_one_by_one(start_service: StartService) -> None:
    service = await start_service(**SETTINGS, sweep_interval=NEVER)
    busy, count = Busy(500), WIDEST + 20
    async with running_receiver() as receiver:
        receiver.answer = busy.answer
        await queue(service, await make_webhook(service.client, receiver), count)

        async with running_courier(service):

            async def all_attempted() -> bool:
                return await states(service) == {"pending": count}

            await until(all_attempted, within_s=60)
    # The first WIDEST deliveries are in flight together. After they fail, only one may be.
    assert set(busy.counts[WIDEST:]) == {1}
