"""The CPU cost of observing the service: a process with metrics, logs or traces, and one without.

The table has two rows for a worker, and two for an API. The first row compares a process that has
metrics with scrapes, log lines at level info, request ids, stages and the backlog with a process
that has none of these. In the second row, both processes record no traces, but one of them does not
even contain the code for traces: see `tests.benchmarks.without`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from statistics import median
from typing import Final

import aiohttp
import asyncpg
from rich.table import Table

from deploy.embedded.ports import choose_port
from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.backlog import work_off
from tests.benchmarks.create import serve
from tests.benchmarks.photos import small_photo
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import running_service, until
from tests.support.service_processes import ApiProcess, WorkerProcess
from tests.support.starting import SomeProcess

ROUNDS = 7
WORKER_AIM = 1.03
API_AIM = 1.05
TRACES_AIM = 1.01
"""The aim for the ratio if traces are off. They should cost nothing, but the aim is not 1.00,
because the measurement cannot show a difference of less than one per cent."""

FEW = 4
"""The number of connections. It is small, so that even a busy machine answers in time."""

SLICE = 160
SLICES = 30
WARM_UP = 640
"""The number of requests of a slice, of slices of an API in a round, and of requests that only warm
an API up.

The APIs of a round run at the same time and serve slices in turns, because the speed of a machine
changes within seconds. Each round has new processes, because the same program may be some per cent
faster in one process than in another.
"""

SCRAPED_EVERY_S = 5.0
"""Seconds between two scrapes. Prometheus's sample configuration has 15 s."""

WITHOUT = "tests.benchmarks.without"
SILENT: Final = {"metrics_port": "", "log_level": "error", "log_requests": "false"}
SIDES: Final[Mapping[str, Mapping[str, str]]] = {"": {}, "watching": SILENT, "traces": {}}
"""The settings of each compared process, by the name of the part that it lacks.

The first process has all parts.
"""

ROWS: Final = (
    ("watching", "{} metrics, log and ids, against none of them"),
    ("traces", "{} traces off, against no traces"),
)

Costs = dict[str, list[float]]
"""The cost of one upload or request in each round, by the part that the process lacks."""


async def run(site: Site) -> Table:
    """Measure the compared processes in turn, so that a busy machine slows all equally."""
    table = make_table(
        "metrics: CPU time for an upload or a request, of a process with a part and without it",
        ["", "with", "without", "ratio", "aim"],
    )
    rounds = 3 if site.quick else ROUNDS
    for title, costs, unit, aim in (
        ("worker:", await _worker(site, rounds), "ms", WORKER_AIM),
        ("API:", await _api(site, rounds), "µs", API_AIM),
    ):
        for part, words in ROWS:
            ratio = median(on / off for on, off in zip(costs[""], costs[part], strict=True))
            table.add_row(
                words.format(title),
                f"{median(costs['']):.2f} {unit}",
                f"{median(costs[part]):.2f} {unit}",
                *at_most(ratio, TRACES_AIM if part == "traces" else aim, digits=3),
            )
    return table


async def _worker(site: Site, rounds: int) -> Costs:
    """Measure the workers in turn with the same number of photos. One runs at a time."""
    content, uploads = small_photo().content, 30 if site.quick else 200
    costs: Costs = {part: [] for part in SIDES}
    async with running_service(site.stack, site.database_url) as service:

        def make(program: tuple[str, ...] | None, **changes: str) -> WorkerProcess:
            return WorkerProcess(service.environment, program=program, **changes)

        for sides in _turns(rounds):
            for part in sides:
                async with _running("worker", part, make) as worker:
                    await work_off(service, worker, content, uploads=10)
                    worked = await work_off(service, worker, content, uploads=uploads)
                costs[part].append(worked.cpu_ms)
    return costs


async def _api(site: Site, rounds: int) -> Costs:
    connection = await asyncpg.connect(site.database_url)
    organization_id = await create_organization(connection, "metrics")
    token = await create_token(connection, organization_id, "benchmark")
    await connection.close()
    headers = {"X-Auth-Token": token, "X-Organization-Id": str(organization_id)}
    environment = site.stack.environment(site.database_url)
    costs: Costs = {part: [] for part in SIDES}

    def make(program: tuple[str, ...] | None, **changes: str) -> ApiProcess:
        return ApiProcess(environment, program=program, rate_limit="1000000", **changes)

    async def cost(api: SomeProcess, requests: int) -> float:
        port = int(api.environment["ATTACHMENTS_API_PORT"])
        served = await serve(api.pid, port, headers, requests=requests, connections=FEW)
        return served.cpu_us

    for sides in _turns(rounds):
        async with AsyncExitStack() as stack:
            apis = {
                part: await stack.enter_async_context(_running("api", part, make)) for part in sides
            }
            for api in apis.values():
                await cost(api, WARM_UP)
            slices: Costs = {part: [] for part in sides}
            for order in _turns(6 if site.quick else SLICES):
                for part in order:
                    slices[part].append(await cost(apis[part], SLICE))
        for part in sides:
            costs[part].append(median(slices[part]))
    return costs


def _turns(rounds: int) -> Iterator[list[str]]:
    """Yield the order of the compared processes for each round.

    Every second order is reversed, so that a slow change of the machine's load has no effect.
    """
    for number in range(rounds):
        yield list(SIDES)[:: -1 if number % 2 else 1]


@asynccontextmanager
async def _running(
    module: str, part: str, make: Callable[..., SomeProcess]
) -> AsyncIterator[SomeProcess]:
    """Run a process that lacks `part` (nothing if `part` is empty). Scrape its metrics."""
    port = choose_port()
    program = ("-m", WITHOUT, part, module) if part else None
    process = make(program, **{"metrics_port": str(port), **SIDES[part]})
    process.sign = "" if SIDES[part] is SILENT else process.sign  # this process logs no line
    scraping = asyncio.create_task(_scrape(f"http://127.0.0.1:{port}/metrics"))
    try:
        await process.start()
        if isinstance(process, ApiProcess):
            await until(lambda: _answers(process.url), within_s=60)
        yield process
    finally:
        scraping.cancel()
        process.close()


async def _answers(url: str) -> bool:
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health/ready") as answer:
            return answer.status == 200
    return False


async def _scrape(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    await answer.read()
            await asyncio.sleep(SCRAPED_EVERY_S)
