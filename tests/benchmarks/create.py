"""The rate and the CPU time of create requests: the API, compared with a handler of one INSERT."""

import asyncio
import json
import time
from dataclasses import dataclass
from statistics import median

import asyncpg
from rich.table import Table

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.processes import fine_cpu_s, running_module
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site

ROUNDS = 7
CONNECTIONS = 16
AIM = 2.0
BARE = "tests.benchmarks.bare"

BODY = json.dumps(
    {
        "data": {
            "type": "attachments",
            "attributes": {
                "name": "img.png",
                "attachable_type": "comment",
                "attachable_id": 5,
                "content_type": "image/png",
            },
        }
    }
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The measured speed and CPU time of one round of requests."""

    requests_per_s: float
    cpu_us: float


async def run(site: Site) -> Table:
    """Measure both APIs alternately. Each is a separate process that uses the same PostgreSQL."""
    connection = await asyncpg.connect(site.database_url)
    organization_id = await create_organization(connection, "benchmark")
    token = await create_token(connection, organization_id, "benchmark")
    await connection.close()
    headers = {"X-Auth-Token": token, "X-Organization-Id": str(organization_id)}
    settings = {
        **site.stack.environment(site.database_url),
        "ATTACHMENTS_API_PORT": "0",
        # The API still counts requests for the rate limit, but never reaches it.
        "ATTACHMENTS_RATE_LIMIT": "1000000",
    }
    requests = 1600 if site.quick else 4000
    results: dict[str, list[Served]] = {"API": [], "bare": [], "barer": []}
    async with (
        running_module("api", environment=settings) as api,
        running_module(BARE, site.database_url, environment={}) as bare,
        running_module(BARE, site.database_url, "--keep-session", environment={}) as barer,
    ):
        for _ in range(3 if site.quick else ROUNDS):
            for name, (pid, port) in (("API", api), ("bare", bare), ("barer", barer)):
                # This round only warms the process up.
                await serve(pid, port, headers, requests=320)
                results[name].append(await serve(pid, port, headers, requests=requests))
    table = make_table(
        f"create: {CONNECTIONS} connections, CPU of the serving process for one request",
        ["POST /api/v2/attachments", "requests/s", "CPU", "API's ratio", "aim"],
    )
    for name, title in (
        ("API", "API"),
        ("bare", "bare, asyncpg as it comes"),
        ("barer", "bare, sessions not reset"),
    ):
        pairs = zip(results["API"], results[name], strict=True)
        ratio = median(ours.cpu_us / theirs.cpu_us for ours, theirs in pairs)
        table.add_row(
            title,
            f"{median(one.requests_per_s for one in results[name]):.0f}",
            f"{median(one.cpu_us for one in results[name]):.0f} µs",
            *(at_most(ratio, AIM) if name != "API" else ()),
        )
    return table


async def serve(
    pid: int,
    port: int,
    headers: dict[str, str],
    *,
    requests: int,
    connections: int = CONNECTIONS,
) -> Served:
    """Send requests over several connections in parallel, with little CPU time for the client."""
    lines = [
        "POST /api/v2/attachments HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/vnd.api+json",
        f"Content-Length: {len(BODY)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // connections):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201 "), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    cpu, began = fine_cpu_s(pid), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(connections)))
    seconds = time.perf_counter() - began
    return Served(
        requests_per_s=requests / seconds, cpu_us=1e6 * (fine_cpu_s(pid) - cpu) / requests
    )
