"""The CPU cost of the log: a process with level info, compared with one that logs only errors."""

from statistics import median

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
from tests.support.service import running_service
from tests.support.service_processes import WorkerProcess

ROUNDS = 7
QUIET = "error"
WORKER_AIM = 1.03
API_AIM = 1.05


async def run(site: Site) -> Table:
    """Measure both log levels alternately, so that a busy machine slows both equally."""
    table = make_table(
        "log: CPU of a process that logs each answer or upload as JSON, against one that logs none",
        ["", "with", "without", "ratio", "aim"],
    )
    rounds = 3 if site.quick else ROUNDS
    for title, pairs, unit, aim in (
        ("worker, for one upload", await _worker(site, rounds), "ms", WORKER_AIM),
        ("API, for one request", await _api(site, rounds), "µs", API_AIM),
    ):
        on = median(each for each, _ in pairs)
        off = median(each for _, each in pairs)
        table.add_row(
            title,
            f"{on:.2f} {unit}",
            f"{off:.2f} {unit}",
            *at_most(on / off, aim, digits=3),
        )
    return table


async def _worker(site: Site, rounds: int) -> list[tuple[float, float]]:
    """Measure two workers alternately with the same number of photos. One runs at a time."""
    content, uploads = small_photo().content, 30 if site.quick else 200
    pairs = []
    async with running_service(site.stack, site.database_url) as service:
        for _ in range(rounds):
            found = []
            for level in ("info", QUIET):
                worker = WorkerProcess(service.environment, log_level=level)
                worker.sign = "" if level == QUIET else worker.sign
                try:
                    await worker.start()
                    await work_off(service, worker, content, uploads=10)
                    worked = await work_off(service, worker, content, uploads=uploads)
                    found.append(worked.cpu_ms)
                finally:
                    worker.close()
            pairs.append((found[0], found[1]))
    return pairs


async def _api(site: Site, rounds: int) -> list[tuple[float, float]]:
    connection = await asyncpg.connect(site.database_url)
    organization_id = await create_organization(connection, "logs")
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
        running_module("api", environment={**settings, "ATTACHMENTS_LOG_REQUESTS": "0"}) as off,
    ):
        for _ in range(rounds):
            found = []
            for pid, port in (on, off):
                await serve(pid, port, headers, requests=320)  # only warms the process up
                found.append((await serve(pid, port, headers, requests=requests)).cpu_us)
            pairs.append((found[0], found[1]))
    return pairs
