"""The latency, rate and CPU time of webhooks, and their rate while other receivers do not
answer."""

import asyncio
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from statistics import median
from typing import Any

import aiohttp
import asyncpg
from rich.table import Table

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.create import serve
from tests.benchmarks.photos import small_photo
from tests.benchmarks.processes import cpu_s, running_module
from tests.benchmarks.report import at_least, at_most, make_table
from tests.benchmarks.site import Site
from tests.benchmarks.webhook_bench import Bench, running_bench
from tests.support.receiver import SETTINGS
from tests.support.service import Client, until
from tests.support.service_processes import WorkerProcess

DEAD = 100


async def run(site: Site) -> Table:
    """Run all measurements. The two values of a ratio are measured alternately."""
    table = make_table("webhooks: receiver answers in 50 ms", ["", "figure", "aim"])
    async with running_bench(site) as bench:
        await measure_latency(bench, site, table)
        await measure_finish(bench, site, table)
        await measure_rate(bench, site, table)
        await measure_dead(bench, site, table)
    await measure_create(site, table)
    return table


async def measure_latency(bench: Bench, site: Site, table: Table) -> None:
    """Measure the time from the end of an upload to the webhook `attachment.ready`."""
    client = bench.service.client
    await bench.make_webhook(client.organization_id, bench.address)
    waits = []
    for _ in range(6 if site.quick else 30):
        created = await client.create("photo.jpg")
        await client.post_file(created, small_photo().content)
        began = time.time()
        found = await bench.wait_for(2)
        ready = next(each for each in found if each.kind == "attachment.ready")
        waits.append(1000 * (ready.at - began))
    table.add_row(
        "201 of the store → attachment.ready: median",
        *at_most(median(waits), 150, unit="ms", digits=0),
    )


async def measure_finish(bench: Bench, site: Site, table: Table) -> None:
    """Measure the CPU time of the worker and PostgreSQL for one upload, with and without a webhook.

    With a webhook, each upload has two deliveries. In the first comparison the worker sends the
    deliveries. In the second, it only queues them.
    """
    without = await bench.service.organization("without webhook")
    clients = (bench.service.client, without)
    count = 10 if site.quick else 40
    rounds = 3 if site.quick else 7
    both = [await compare(bench, clients, count, turn) for turn in range(rounds)]
    table.add_row("upload with two deliveries: CPU with / without", f"{median(both):.2f} ×")
    usual = bench.worker
    await usual.stop()
    bench.worker = WorkerProcess(bench.service.environment, webhook_secret="")
    await bench.worker.start()
    queued = [await compare(bench, clients, count, turn, delivers=False) for turn in range(rounds)]
    bench.worker.close()
    bench.worker = await usual.start()
    table.add_row("finish an upload: CPU with / without", *at_most(median(queued), 1.2))


async def compare(
    bench: Bench, clients: tuple[Client, Client], count: int, turn: int, *, delivers: bool = True
) -> float:
    """Return the ratio of two CPU times: for the first and for the second client's uploads.

    If `turn` is odd, the first client's uploads are measured first.
    """
    costs = {}
    for number in (0, 1) if turn % 2 else (1, 0):
        costs[number] = await process(bench, clients[number], count, delivers=delivers)
    return costs[0] / costs[1]


async def process(bench: Bench, client: Client, count: int, *, delivers: bool = True) -> float:
    """Return the CPU time of processing photos and, if `delivers` is true, of their deliveries."""
    created = [await client.create("photo.jpg") for _ in range(count)]
    before = bench.cpu_s()
    await asyncio.gather(*(client.post_file(each, small_photo().content) for each in created))
    for each in created:
        await client.settled(each["data"]["id"])

    async def delivered() -> bool:
        return not await bench.service.database.fetchval(
            "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')"
        )

    if delivers:
        await until(delivered, within_s=60)
    cost = bench.cpu_s() - before
    await bench.service.execute("DELETE FROM webhook_deliveries")
    await bench.arrivals()
    return cost


async def measure_rate(bench: Bench, site: Site, table: Table) -> None:
    """Measure how many deliveries one worker sends in a second. Each delivery is about a photo."""
    count = 2000 if site.quick else 10_000
    client = await bench.service.organization("rate")
    attachment_id = await client.upload(small_photo().content, "photo.jpg")
    await client.settled(attachment_id)
    webhook_id = await bench.make_webhook(client.organization_id, bench.address)
    before = bench.cpu_s()
    await bench.queue_ready(webhook_id, attachment_id, count)
    found = await bench.wait_for(count)
    cost_ms = 1000 * (bench.cpu_s() - before) / count
    assert {each.kind for each in found} == {"attachment.ready"}
    times = sorted(each.at for each in found)
    tenth = len(times) // 10
    rate = 8 * tenth / (times[9 * tenth] - times[tenth])
    table.add_row(
        "deliveries of attachment.ready by one worker", *at_least(rate, 800, unit="/s", digits=0)
    )
    table.add_row("CPU of worker and PostgreSQL for one of them", f"{cost_ms:.2f} ms")


async def measure_dead(bench: Bench, site: Site, table: Table) -> None:
    """Measure the deliveries to a good receiver while many other receivers do not answer."""
    with hanging() as port:
        for number in range(DEAD // 20):
            organization_id = await create(bench, f"dead {number}")
            for _ in range(20):
                url = f"http://127.0.0.1:{port}/"
                webhook_id = await bench.make_webhook(organization_id, url)
                await bench.queue(webhook_id, organization_id, 100)
        client = await bench.service.organization("good")
        good = await bench.make_webhook(client.organization_id, bench.address)
        sent: dict[str, float] = {}
        arrived: dict[str, float] = {}

        async def take_arrivals() -> None:
            arrived.update({each.message_id: each.at for each in await bench.arrivals()})

        for _ in range(30 if site.quick else 150):
            answer = await client.request("POST", f"/api/v2/webhooks/{good}/test")
            assert answer.status == 201, answer.body
            made = answer.data["attributes"]
            sent[made["message_id"]] = datetime.fromisoformat(made["created_at"]).timestamp()
            await take_arrivals()
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        await take_arrivals()
    # A delivery that has not arrived counts as an infinite wait.
    waits = sorted(arrived.get(each, math.inf) - began for each, began in sent.items())
    table.add_row(
        f"p95 of a good receiver beside {DEAD} dead ones",
        *at_most(waits[math.ceil(0.95 * len(waits)) - 1], 1, unit="s"),
    )
    table.add_row(
        "deliveries that did not arrive", *at_most(waits.count(math.inf), 0, unit="", digits=0)
    )


async def create(bench: Bench, name: str) -> int:
    """Create an organization, and return its id."""
    async with bench.service.database.acquire() as connection:
        return await create_organization(connection, name)


@contextmanager
def hanging() -> Iterator[int]:
    """Listen on a port where new connections hang, because its queue is full. Yield the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
            waiting.append(client)
        yield int(listening.getsockname()[1])
        for client in waiting:
            client.close()


async def measure_create(site: Site, table: Table) -> None:
    """Measure the CPU time of API and PostgreSQL for a create request, with or without webhook."""
    environment = {
        **site.stack.environment(site.database_url),
        **{f"ATTACHMENTS_{name.upper()}": value for name, value in SETTINGS.items()},
        "ATTACHMENTS_API_PORT": "0",
        "ATTACHMENTS_RATE_LIMIT": "1000000",
    }
    connection = await asyncpg.connect(site.database_url)
    headers: list[dict[str, str]] = []
    for name in ("with", "without"):
        number = await create_organization(connection, name)
        token = await create_token(connection, number, name)
        headers.append({"X-Auth-Token": token, "X-Organization-Id": str(number)})
    await connection.close()
    async with running_module("api", environment=environment) as (pid, port):
        document: dict[str, Any] = {
            "data": {
                "type": "webhooks",
                "attributes": {"target_url": "http://127.0.0.1:9/"},
            }
        }
        media_type = {"Content-Type": "application/vnd.api+json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{port}/api/v2/webhooks",
                json=document,
                headers={**headers[0], **media_type},
            ) as answer,
        ):
            assert answer.status == 201, await answer.text()
        postgres = site.stack.postgres.child
        assert postgres is not None
        requests = 800 if site.quick else 3200
        ratios = []
        for _ in range(3 if site.quick else 7):
            costs = []
            for each in headers:
                await serve(pid, port, each, requests=160)
                before = cpu_s(postgres.pid)
                served = await serve(pid, port, each, requests=requests)
                costs.append(served.cpu_us * requests / 1e6 + cpu_s(postgres.pid) - before)
            ratios.append(costs[0] / costs[1])
    table.add_row("create: CPU with / without", *at_most(median(ratios), 1.15))
