"""The backlog, a metric for autoscaling, when the load doubles and then a second worker starts.

A proxy delays the store's answers to the workers. So the delay decides how many uploads a worker
processes per second, and the processors have no effect.
"""

import asyncio
import time
from typing import Any

import orjson
from rich.table import Table

from shared.backlog import Backlog, measure
from tests.benchmarks.backlog import hold
from tests.benchmarks.report import at_least, at_most, make_table
from tests.benchmarks.site import Site
from tests.support.proxy import running_proxy
from tests.support.service import Service, running_service, until
from tests.support.service_processes import WorkerProcess

TEXT = b"a text needs no decoder"
LATE_S = 0.5
CONCURRENCY = "4"
BURST = 40
SHARE = 0.75
"""The first load, as a fraction of one worker's capacity. The doubled load exceeds the capacity."""


async def run(site: Site) -> Table:
    """Send events at three loads, and measure the backlog at the end of each."""
    table = make_table(
        "scaling: how long the oldest upload waits for a worker",
        ["load", "workers", "uploads/s", "waiting", "oldest", "aim"],
    )
    seconds = 15.0 if site.quick else 30.0
    async with (
        running_service(site.stack, site.database_url) as service,
        running_proxy(site.stack.seaweedfs.url) as store,
    ):
        late = {"s3_endpoint_url": store.url, "concurrency": CONCURRENCY}
        workers = [WorkerProcess(service.environment, **late) for _ in range(2)]
        try:
            await workers[0].start()
            store.delay(LATE_S)
            rate = SHARE * await _capacity(service)
            # All files are uploaded before the first load, so that clients and the API do not limit
            # the rate.
            _, events = await hold(service, TEXT, uploads=int(7 * rate * seconds) + 1)
            service.stack.relay.target = service.base_url
            usual = await _load(service, events, rate, seconds)
            table.add_row("usual", "1", *_cells(rate, usual), f"{usual.oldest_seconds:.1f} s")
            doubled = await _load(service, events, 2 * rate, seconds)
            rises = at_least(
                doubled.oldest_seconds, round(usual.oldest_seconds + 1, 1), unit="s", digits=1
            )
            table.add_row("doubled", "1", *_cells(2 * rate, doubled), *rises)
            await workers[1].start()
            helped = await _load(service, events, 2 * rate, 2 * seconds)
            falls = at_most(
                helped.oldest_seconds, round(doubled.oldest_seconds / 2, 1), unit="s", digits=1
            )
            table.add_row("doubled", "2", *_cells(2 * rate, helped), *falls)
        finally:
            for worker in workers:
                worker.close()
    return table


def _cells(rate: float, found: Backlog) -> tuple[str, str]:
    return f"{rate:.1f}", str(found.waiting)


async def _capacity(service: Service) -> float:
    """Return how many uploads one worker processes in a second, measured with a burst of events."""
    ids, events = await hold(service, TEXT, uploads=BURST)
    service.stack.relay.target = service.base_url
    await asyncio.gather(*(service.stack.relay.post(orjson.dumps(each)) for each in events))

    async def all_done() -> bool:
        count = await service.database.fetchval(
            "SELECT count(*) FROM attachments WHERE id = ANY($1) AND state = 'ready'", ids
        )
        return bool(count == BURST)

    await until(all_done, within_s=120)
    seconds = await service.database.fetchval(
        "SELECT extract(epoch FROM max(processed_at) - min(processed_at))::float8"
        " FROM attachments WHERE id = ANY($1)",
        ids,
    )
    return (BURST - 1) / float(seconds)


async def _load(service: Service, events: list[Any], rate: float, seconds: float) -> Backlog:
    """Send `rate` events per second; remove them from the list. Return the final backlog."""
    posts: list[asyncio.Task[int]] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        posts += [
            asyncio.create_task(service.stack.relay.post(orjson.dumps(events.pop())))
            for _ in range(min(len(events), int(passed * rate) - len(posts)))
        ]
        await asyncio.sleep(0.02)
    async with service.database.acquire() as connection:
        found = await measure(connection)
    await asyncio.gather(*posts)
    return found
