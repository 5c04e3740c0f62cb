"""Clients that wait for attachments: the memory, answer times and queries that they cost."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import asyncpg
from rich.table import Table

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.processes import running_module, uss_bytes
from tests.benchmarks.report import at_most, judged, make_table
from tests.benchmarks.site import Site
from tests.support.service import until

WAIT_S = 30
COUNTED_S = 10
AT_ONCE = 100
BULK = 100

MAX_KIB = 40
MAX_DELAY_MS = 50

READS = " FROM attachments AS a WHERE a.id "
"""This text is in every statement that reads attachments by their ids."""


@dataclass(kw_only=True)
class Waiter(asyncio.Protocol):
    """A connection that needs little memory. `answered_at` is when its answer began to arrive."""

    transport: asyncio.Transport | None = None
    answered_at: float | None = None
    received: bytearray = field(default_factory=bytearray)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Note when the first bytes of an answer arrive."""
        if self.answered_at is None:
            self.answered_at = time.perf_counter()
        self.received += data

    def ask(self, request: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self.answered_at = None
        self.received.clear()
        self.transport.write(request)

    def close(self) -> None:
        """Close the connection at once."""
        assert self.transport is not None
        self.transport.abort()

    @property
    def answer(self) -> str:
        """The part of the answer that has arrived: first line, headers and body."""
        return self.received.decode(errors="replace")


class Bench:
    """One API process, with connections that wait for attachments of one organization."""

    def __init__(self, site: Site, pid: int, port: int, headers: dict[str, str]) -> None:
        self.site = site
        self.pid = pid
        self.port = port
        self.headers = headers
        self.waiters: list[Waiter] = []

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        """Return the bytes of a request."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            *((f"Content-Type: {kind}", f"Accept: {kind}") if kind else ()),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def connect(self, count: int) -> list[Waiter]:
        """Open `count` connections, at most AT_ONCE at the same time."""
        loop, slots = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

        async def one() -> Waiter:
            async with slots:
                _, waiter = await loop.create_connection(Waiter, "127.0.0.1", self.port)
                return waiter

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def create(self, count: int) -> list[int]:
        """Create attachments in bulk and return their ids."""
        item = {"type": "attachments", "attributes": {"name": "a.png"}}
        body = json.dumps({"data": [item] * BULK}).encode()
        kind = "application/vnd.api+json; ext=bulk"
        request = self.request("POST", "/api/v2/attachments", body, kind)
        (caller,) = await self.connect(1)
        ids: list[int] = []
        while len(ids) < count:
            made = await self.call(caller, request, 201)
            ids += [int(each["id"]) for each in made["data"]]
        caller.close()
        return ids[:count]

    async def call(self, caller: Waiter, request: bytes, status: int) -> Any:
        """Send a request and return the document of its answer."""
        caller.ask(request)

        async def whole() -> bool:
            head, _, body = caller.answer.partition("\r\n\r\n")
            length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
            return bool(length) and len(body.encode()) >= int(length)

        await until(whole, within_s=60, every_s=0.002)
        assert f" {status} " in caller.answer[:20], caller.answer
        return json.loads(caller.answer.partition("\r\n\r\n")[2])

    async def wait_for(self, ids: list[int], wait_s: int) -> None:
        """Let each connection wait for one attachment. Return when all have begun to wait.

        All connections except the last send their requests at once. The API reads the rows of an
        organization in the order in which its requests arrive. So the answer to one further
        request, which also waits, shows that the rows of all earlier requests have been read. The
        last connection sends its request after that, because the API refuses more than
        `api.waiters.MAX_WAITERS_EACH` waiting clients.
        """
        (more,) = await self.connect(1)

        def ask(waiter: Waiter, attachment_id: int) -> None:
            path = f"/api/v2/attachments/{attachment_id}?wait={wait_s}"
            waiter.ask(self.request("GET", path))

        *pairs, last = zip(self.waiters, ids, strict=False)
        for pair in pairs:
            ask(*pair)
        await self.call(more, self.request("GET", f"/api/v2/attachments/{ids[-1]}?wait=1"), 200)
        ask(*last)
        await self.call(more, self.request("GET", f"/api/v2/attachments/{ids[-1]}"), 200)
        more.close()

    async def all_answered(self) -> None:
        """Wait until every connection has its answer."""

        async def answered() -> bool:
            return all(each.answered_at is not None for each in self.waiters)

        await until(answered, within_s=2 * WAIT_S)
        assert all(" 200 " in each.answer[:20] for each in self.waiters)


@asynccontextmanager
async def running_bench(site: Site, database_url: str) -> AsyncIterator[Bench]:
    """Start an API process and make an organization."""
    connection = await asyncpg.connect(site.database_url)
    organization_id = await create_organization(connection, "waiting")
    token = await create_token(connection, organization_id, "waiting")
    await connection.close()
    environment = {
        **site.stack.environment(database_url),
        "ATTACHMENTS_API_PORT": "0",
        "ATTACHMENTS_RATE_LIMIT": "0",
        "ATTACHMENTS_LOG_REQUESTS": "false",
    }
    headers = {"X-Auth-Token": token, "X-Organization-Id": str(organization_id)}
    async with running_module("api", environment=environment) as (pid, port):
        bench = Bench(site, pid, port, headers)
        try:
            yield bench
        finally:
            for each in bench.waiters:
                each.close()


async def run(site: Site) -> Table:
    """Measure with PostgreSQL's notifications, and without them, as if PgBouncer were used."""
    count = 500 if site.quick else 5000
    allow_files(count + 200)
    table = make_table(f"waiting: {count} connections with ?wait={WAIT_S}", ["", "figure", "aim"])
    async with running_bench(site, site.database_url) as bench:
        ids = await bench.create(count)
        bench.waiters = await bench.connect(AT_ONCE)
        # The process first runs all of its code once, so that the memory for code is not counted.
        await bench.wait_for(ids, 0)
        await bench.all_answered()
        before = uss_bytes(bench.pid)
        bench.waiters += await bench.connect(count - len(bench.waiters))
        await bench.wait_for(ids, WAIT_S)
        each_kib = (uss_bytes(bench.pid) - before) / count / 1024
        answered = next((each.answer for each in bench.waiters if each.answered_at), None)
        assert answered is None, answered
        table.add_row("memory of a waiter (USS)", *at_most(each_kib, MAX_KIB, unit="KiB", digits=1))
        delays = await settle_some(bench, ids, 40 if site.quick else 200)
        table.add_row(
            "commit → answer while the others wait: p95",
            *at_most(1000 * quantiles(delays, n=20)[-1], MAX_DELAY_MS, unit="ms", digits=1),
        )
        table.add_row("median", f"{1000 * median(delays):.1f} ms")
        await bench.all_answered()
        # Some attachments are settled by now. A request for a settled attachment does not wait, and
        # reads the row once.
        table.add_row("queries/s of all waiters", *at_most(await queries(bench, ids), 0, unit=""))
    async with running_bench(site, f"{site.database_url}?pgbouncer=true") as bench:
        ids = await bench.create(count)
        bench.waiters = await bench.connect(count)
        rate = await queries(bench, ids)
        table.add_row(
            "without notifications: queries/s of all waiters",
            judged(f"{rate:.2f}", reached=0 < rate <= 1.1),
            "≈ 1",
        )
    return table


async def settle_some(bench: Bench, ids: list[int], count: int) -> list[float]:
    """Settle attachments one by one. Return the seconds from each statement to the answer."""
    connection = await asyncpg.connect(bench.site.database_url)
    delays = []
    step = len(ids) // count
    for number in range(0, step * count, step):
        waiter, began = bench.waiters[number], time.perf_counter()
        await connection.execute(
            "UPDATE attachments SET state = 'rejected' WHERE id = $1", ids[number]
        )

        async def answered(waiter: Waiter = waiter) -> bool:
            return waiter.answered_at is not None

        await until(answered, within_s=WAIT_S, every_s=0.001)
        assert waiter.answered_at is not None
        assert '"rejected"' in waiter.answer
        delays.append(waiter.answered_at - began)
    await connection.close()
    return delays


async def queries(bench: Bench, ids: list[int]) -> float:
    """Return how many statements per second read attachments while clients wait.

    The statements are counted in PostgreSQL's log.
    """
    admin, log = bench.site.stack.admin, bench.site.stack.postgres.log_file
    await bench.wait_for(ids, WAIT_S)
    await admin.execute("ALTER SYSTEM SET log_statement = 'all'")
    await admin.execute("SELECT pg_reload_conf()")
    # When clients begin to wait, the API reads the rows several times, because transactions that
    # began earlier do not notify the API.
    await asyncio.sleep(3)
    before, began = len(log.read_bytes()), time.perf_counter()
    await asyncio.sleep(COUNTED_S)
    written = log.read_bytes()[before:].decode(errors="replace")
    seconds = time.perf_counter() - began
    await admin.execute("ALTER SYSTEM RESET log_statement")
    await admin.execute("SELECT pg_reload_conf()")
    logged = [
        line for line in written.splitlines() if " execute " in line or " statement: " in line
    ]
    assert logged, "PostgreSQL has logged no statement, not even those of health"
    waiting = sum(each.answered_at is None for each in bench.waiters)
    assert waiting > len(ids) * 0.9, "too few connections were waiting"
    return sum(READS in line for line in logged) / seconds


def allow_files(count: int) -> None:
    """Raise the limit of open files of this process and of its later child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
