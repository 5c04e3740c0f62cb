"""The number to scale on, on the real parts: the load doubles, then a second worker comes.

The store answers the workers late, so that a worker takes a known number of uploads a second and
the processors are idle.
"""

import asyncio
import time

from rich.table import Table

from shared.backlog import Backlog, measure
from tests.benchmarks.report import at_least, at_most, make_table
from tests.benchmarks.site import Site
from tests.support.proxy import running_proxy
from tests.support.service import Service, running_service, until
from tests.support.service_processes import WorkerProcess

TEXT = b"a text needs no decoder"
LATE_S = 0.25
CONCURRENCY = "4"
SHARE = 0.6
"""The first load, as a share of what one worker takes; doubled it is more than one worker takes."""


async def run(site: Site) -> Table:
    """Upload at three loads, and read the view at the end of each."""
    table = make_table(
        "scaling: how long the oldest upload waits for a worker",
        ["load", "workers", "uploads/s", "waiting", "oldest", "aim"],
    )
    seconds = 10.0 if site.quick else 30.0
    async with (
        running_service(site.stack, site.database_url) as service,
        running_proxy(site.stack.seaweedfs.url) as store,
    ):
        store.delay(LATE_S)
        late = {"s3_endpoint_url": store.url, "concurrency": CONCURRENCY}
        workers = [WorkerProcess(service.environment, **late) for _ in range(2)]
        try:
            await workers[0].start()
            rate = SHARE * await _capacity(service)
            usual = await _load(service, rate, seconds)
            table.add_row(
                "usual", "1", f"{rate:.1f}", str(usual.waiting), f"{usual.oldest_seconds:.1f} s"
            )
            doubled = await _load(service, 2 * rate, seconds)
            table.add_row(
                "doubled",
                "1",
                f"{2 * rate:.1f}",
                str(doubled.waiting),
                *at_least(doubled.oldest_seconds, usual.oldest_seconds + 1, unit="s", digits=1),
            )
            await workers[1].start()
            helped = await _load(service, 2 * rate, 2 * seconds)
            table.add_row(
                "doubled",
                "2",
                f"{2 * rate:.1f}",
                str(helped.waiting),
                *at_most(helped.oldest_seconds, doubled.oldest_seconds / 2, unit="s", digits=1),
            )
        finally:
            for worker in workers:
                worker.close()
    return table


async def _capacity(service: Service) -> float:
    """Find how many uploads one worker takes in a second, from a burst."""
    began = time.monotonic()
    await asyncio.gather(*(service.client.upload(TEXT, "a.txt") for _ in range(40)))
    await until(lambda: _is_empty(service), within_s=120)
    return 40 / (time.monotonic() - began)


async def _is_empty(service: Service) -> bool:
    count = await service.database.fetchval(
        "SELECT count(*) FROM attachments WHERE state IN ('pending', 'uploaded', 'processing')"
    )
    return bool(count == 0)


async def _load(service: Service, rate: float, seconds: float) -> Backlog:
    """Upload `rate` files a second for so many seconds; gives the backlog at the end."""
    tasks: list[asyncio.Task[str]] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        while len(tasks) < passed * rate:
            tasks.append(asyncio.create_task(service.client.upload(TEXT, "a.txt")))
        await asyncio.sleep(0.02)
    async with service.database.acquire() as connection:
        found = await measure(connection)
    await asyncio.gather(*tasks)
    return found
