"""The CPU cost of metrics: processes that count, against the same processes without counting."""

import asyncio
from contextlib import AsyncExitStack, suppress
from statistics import median

import aiohttp
import asyncpg
from rich.table import Table

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.backlog import work_off
from tests.benchmarks.create import serve
from tests.benchmarks.photos import small_photo
from tests.benchmarks.processes import running_module
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.support.scraping import metrics_url
from tests.support.service import running_service
from tests.support.service_processes import WorkerProcess

ROUNDS = 7
OFF = "tests.benchmarks.unmeasured"
WORKER_AIM = 1.03
API_AIM = 1.05
FEW = 4
"""The number of connections; few, so that a busy machine answers each in time."""

SCRAPED_EVERY_S = 5.0
"""Seconds between two scrapes: three times as often as Prometheus does by default."""


async def run(site: Site) -> Table:
    """Measure both sides in turns, so that a busy machine slows both equally."""
    table = make_table(
        "metrics: CPU of a process that counts and is scraped, against one that does neither",
        ["", "with", "without", "ratio", "aim"],
    )
    rounds = 3 if site.quick else ROUNDS
    for title, pairs, unit, aim in (
        ("worker, for one upload", await _worker(site, rounds), "ms", WORKER_AIM),
        ("API, for one request", await _api(site, rounds), "µs", API_AIM),
    ):
        table.add_row(
            title,
            f"{median(on for on, _ in pairs):.2f} {unit}",
            f"{median(off for _, off in pairs):.2f} {unit}",
            *at_most(
                median(on for on, _ in pairs) / median(off for _, off in pairs), aim, digits=3
            ),
        )
    return table


async def _worker(site: Site, rounds: int) -> list[tuple[float, float]]:
    """Let two workers process the same number of photos in turns; only one of them runs at a
    time.
    """
    content, uploads = small_photo().content, 30 if site.quick else 200
    pairs = []
    async with running_service(site.stack, site.database_url) as service:
        for _ in range(rounds):
            found = []
            for off in (False, True):
                changes = {"metrics_port": ""} if off else {}
                program = ("-m", OFF, "worker") if off else None
                worker = WorkerProcess(service.environment, program=program, **changes)
                try:
                    await worker.start()
                    await work_off(service, worker, content, uploads=10)
                    async with AsyncExitStack() as stack:
                        if not off:
                            scraping = asyncio.create_task(_scrape(metrics_url(worker)))
                            stack.callback(scraping.cancel)
                        worked = await work_off(service, worker, content, uploads=uploads)
                    found.append(worked.cpu_ms)
                finally:
                    worker.close()
            pairs.append((found[0], found[1]))
    return pairs


async def _api(site: Site, rounds: int) -> list[tuple[float, float]]:
    connection = await asyncpg.connect(site.database_url)
    organization_id = await create_organization(connection, "metrics")
    token = await create_token(connection, organization_id, "benchmark")
    await connection.close()
    headers = {"X-Auth-Token": token, "X-Organization-Id": str(organization_id)}
    settings = {
        **site.stack.environment(site.database_url),
        "ATTACHMENTS_API_PORT": "0",
        "ATTACHMENTS_RATE_LIMIT": "1000000",
    }
    requests = 1600 if site.quick else 4000
    pairs = []
    async with (
        running_module("api", environment=settings) as on,
        running_module(OFF, "api", environment={**settings, "ATTACHMENTS_METRICS_PORT": ""}) as off,
    ):
        for _ in range(rounds):
            found = []
            for pid, port in (on, off):
                # This round warms the process up.
                await serve(pid, port, headers, requests=320, connections=FEW)
                served = await serve(pid, port, headers, requests=requests, connections=FEW)
                found.append(served.cpu_us)
            pairs.append((found[0], found[1]))
    return pairs


async def _scrape(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    await answer.read()
            await asyncio.sleep(SCRAPED_EVERY_S)
