"""How an API receives events: events per second, CPU time, and answer times while a server is
frozen.

The API is compared with a minimal handler that reads the JSON and runs one UPDATE. The CPU time is
measured until the wake-ups of all events are at the broker. No worker takes the wake-ups.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

import asyncpg
import psutil  # type: ignore[import-untyped]  # it has no types
import redis.asyncio
from rich.table import Table

from shared.broker import QUEUES
from shared.organizations import create_organization
from tests.benchmarks.posts import CONNECTIONS, NAME, post, send
from tests.benchmarks.processes import cpu_s, running_module
from tests.benchmarks.report import at_most, judged, make_table
from tests.benchmarks.site import Site
from tests.support.service import until
from tests.support.stack import BUCKET, queue_key

ROUNDS = 7
EVENTS = 4000
BATCH = 1000
AIM = 2.0
BARE = "tests.benchmarks.bare"

CALM_PER_S = 100
"""Events per second while the time of single answers is measured. The rate is low on purpose: the
API can answer far more, so no event waits for an earlier one."""
FROZEN_S = 10
FROZEN_ROUNDS = 3
AIM_FROZEN_MS = 100.0
AIM_AWAY_S = 3.0
AIM_STATEMENTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The measured speed and CPU time of one round of events."""

    events_per_s: float
    cpu_us: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The servers, the organization and the functions that all measurements of this module use."""

    site: Site
    database: asyncpg.Pool
    broker: "redis.asyncio.Redis"
    organization_id: int

    async def pending(self, count: int) -> list[int]:
        """Insert attachments that wait for their uploads, and rows for the minimal handler."""
        await self.broker.flushdb()
        rows = await self.database.fetch(
            "INSERT INTO attachments"
            " (organization_id, bucket, name, file_name, policy_expires_at, due_at)"
            " SELECT $1, $2, $3, $3, now() + interval '1 hour', now() + interval '1 hour'"
            " FROM generate_series(1, $4) RETURNING id",
            self.organization_id,
            BUCKET,
            NAME,
            count,
        )
        ids = [row[0] for row in rows]
        await self.database.execute(
            "INSERT INTO bare_uploads (id, state) SELECT unnest($1::bigint[]), 'pending'", ids
        )
        # In normal use, autovacuum analyses the tables within a minute. The benchmark does not wait
        # for that. Without ANALYZE, PostgreSQL's plans would be those of empty tables.
        await self.database.execute("ANALYZE attachments, bare_uploads")
        return ids

    async def published(self, count: int) -> None:
        """Wait until `count` wake-ups are at the broker."""

        async def arrived() -> bool:
            async with self.broker.pipeline(transaction=False) as pipeline:
                for number in range(QUEUES):
                    pipeline.llen(queue_key(number))
                return bool(sum(await pipeline.execute()) >= count)

        await until(arrived, within_s=30, every_s=0.02)

    async def served(
        self, process: tuple[int, int], posts: Sequence[bytes], *, events: int, wake_ups: int
    ) -> Served:
        """Send posts over several connections in parallel. Assert that each answer is 200."""
        pid, port = process
        cpu, began = cpu_s(pid), time.perf_counter()
        answers = await send(port, posts)
        seconds = time.perf_counter() - began
        await self.published(wake_ups)
        cpu = cpu_s(pid) - cpu
        assert all(answer.status == 200 for answer in answers), answers[0]
        return Served(events_per_s=events / seconds, cpu_us=1e6 * cpu / events)


async def run(site: Site) -> Table:
    """Measure the API and the minimal handler alternately. Each is a process of its own."""
    settings = {**site.stack.environment(site.database_url), "ATTACHMENTS_API_PORT": "0"}
    table = make_table(
        f"intake: {CONNECTIONS} connections, CPU of the serving process for one event",
        ["POST /events/s3", "figure", "CPU", "API's ratio", "aim"],
    )
    async with (
        asyncpg.create_pool(site.database_url, min_size=1, max_size=2) as database,
        redis.asyncio.from_url(site.stack.valkey.url) as broker,
        running_module("api", environment=settings) as api,
    ):
        async with database.acquire() as connection:
            organization_id = await create_organization(connection, "benchmark")
        bench = Bench(site=site, database=database, broker=broker, organization_id=organization_id)
        await _costs(bench, table, api)
        await _statements(bench, table, settings)
        await _broker_frozen(bench, table, api[1])
        await _database_frozen(bench, table, api[1])
    return table


async def _costs(bench: Bench, table: Table, api: tuple[int, int]) -> None:
    events = EVENTS // 2 if bench.site.quick else EVENTS
    url = bench.site.database_url
    names = ("API", "bare", "barer", "again", "batches")
    results: dict[str, list[Served]] = {name: [] for name in names}
    async with (
        running_module(BARE, url, environment={}) as bare,
        running_module(BARE, url, "--keep-session", environment={}) as barer,
    ):
        for number in range(3 if bench.site.quick else ROUNDS):
            if number == 0:  # the first round only warms the process up
                warm = [post([number]) for number in await bench.pending(320)]
                for process in (api, bare, barer):
                    wake_ups = 320 if process is api else 0
                    await bench.served(process, warm, events=320, wake_ups=wake_ups)
            ids = await bench.pending(events)
            singles = [post([number]) for number in ids]
            for name, process in (("API", api), ("bare", bare), ("barer", barer), ("again", api)):
                wake_ups = events if process is api else 0
                results[name].append(
                    await bench.served(process, singles, events=events, wake_ups=wake_ups)
                )
            ids = await bench.pending(events)
            batches = [post(ids[at : at + BATCH]) for at in range(0, len(ids), BATCH)]
            results["batches"].append(
                await bench.served(api, batches, events=events, wake_ups=events)
            )
    for name, title, aim in (
        ("API", "API, one event a post", None),
        ("bare", "bare, asyncpg as it comes", AIM),
        ("barer", "bare, sessions not reset", AIM),
        ("again", "API, the same events again", None),
        ("batches", f"API, {BATCH:,} events a post", None),
    ):
        pairs = zip(results["API"], results[name], strict=True)
        ratio = median(ours.cpu_us / theirs.cpu_us for ours, theirs in pairs)
        table.add_row(
            title,
            f"{median(one.events_per_s for one in results[name]):.0f}/s",
            f"{median(one.cpu_us for one in results[name]):.0f} µs",
            *(at_most(ratio, aim) if aim is not None else ()),
        )


async def _statements(bench: Bench, table: Table, settings: dict[str, str]) -> None:
    """Count the statements that PostgreSQL logs while a new API process gets batches of events."""
    name = bench.site.database_url.rpartition("/")[2]
    log = bench.site.stack.postgres.log_file
    posts = [post(await bench.pending(BATCH)) for _ in range(4)]
    await bench.database.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    try:
        async with running_module("api", environment=settings) as (_, port):
            await send(port, posts[:1], connections=1)  # opens the API's connection to PostgreSQL
            begins_at = log.stat().st_size
            await send(port, posts[1:], connections=1)
            with log.open("rb") as file:
                file.seek(begins_at)
                logged = [
                    line for line in file if b" LOG:  execute" in line or b" LOG:  st" in line
                ]
    finally:
        await bench.database.execute(f"ALTER DATABASE {name} RESET log_statement")
    each = len(logged) / len(posts[1:])
    table.add_row(
        f"statements for {BATCH:,} events in a post",
        judged(f"{each:g}", reached=1 <= each <= AIM_STATEMENTS),
        "",
        "",
        f"≤ {AIM_STATEMENTS}",
    )


async def _broker_frozen(bench: Bench, table: Table, port: int) -> None:
    """Measure the time of single answers while the broker is frozen, and while it answers."""
    with_broker, without = [], []
    for _ in range(1 if bench.site.quick else FROZEN_ROUNDS):
        with_broker.append(await _p99_ms(bench, port))
        ids = await bench.pending(CALM_PER_S * FROZEN_S)
        with frozen(_pid(bench.site.stack.valkey.child)):
            without.append(await _p99_ms(bench, port, ids))
    table.add_row(f"p99 of answers at {CALM_PER_S}/s", f"{median(with_broker):.1f} ms")
    longer = max(median(without) - median(with_broker), 0)
    table.add_row(
        "the same while the broker is frozen",
        f"{median(without):.1f} ms",
        "",
        judged(f"+ {longer:.1f} ms", reached=longer <= AIM_FROZEN_MS),
        f"≤ + {AIM_FROZEN_MS:g} ms",
    )


async def _p99_ms(bench: Bench, port: int, ids: Sequence[int] | None = None) -> float:
    posts = [post([each]) for each in ids or await bench.pending(CALM_PER_S * FROZEN_S)]
    answers = await send(port, posts, every_s=CONNECTIONS / CALM_PER_S)
    assert all(answer.status == 200 for answer in answers)
    return 1000 * quantiles((answer.seconds for answer in answers), n=100)[98]


async def _database_frozen(bench: Bench, table: Table, port: int) -> None:
    """Measure the time of answers while PostgreSQL is frozen. Then send the events again."""
    posts = [post([number]) for number in await bench.pending(3 * CONNECTIONS)]
    # These requests only warm the process up.
    await send(port, [post([number]) for number in await bench.pending(10 * CONNECTIONS)])
    postmaster = psutil.Process(_pid(bench.site.stack.postgres.child))
    processes = [postmaster, *postmaster.children(recursive=True)]
    with frozen(*(process.pid for process in processes)):
        answers = await send(port, posts)
    longest = max(answer.seconds for answer in answers)
    statuses = sorted({answer.status for answer in answers})
    table.add_row(
        f"answers while PostgreSQL is frozen: {', '.join(map(str, statuses))}",
        judged(f"{longest:.2f} s", reached=longest <= AIM_AWAY_S and statuses == [503]),
        "",
        "",
        f"503 ≤ {AIM_AWAY_S:g} s",
    )

    async def taken() -> bool:
        return all(answer.status == 200 for answer in await send(port, posts))

    began = time.perf_counter()
    await until(taken, within_s=60)
    table.add_row("all taken, once it goes on, after", f"{time.perf_counter() - began:.2f} s")


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Suspend processes in the block; their ports stay open."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _pid(child: object) -> int:
    number = getattr(child, "pid", None)
    assert isinstance(number, int), "the server has not been started"
    return number
