"""The latencies (p95) of an organization with an idle API, and while another one floods the API."""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles

import aiohttp
import asyncpg
from rich.table import Table

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.benchmarks.flood import CONNECTIONS
from tests.benchmarks.processes import running_module
from tests.benchmarks.report import judged, make_table
from tests.benchmarks.site import Site
from tests.support.resources import open_bucket
from tests.support.service import Client
from tests.support.service_processes import WorkerProcess
from tests.support.stack import BUCKET, EVENTS_TOKEN

ROWS = 1_000_000
SOURCE_BYTES = 36 * 1024 * 1024
KINDS = {
    "bombs": "1 kB of gzip that holds a megabyte of [",
    "lists": f"lists with totals over {ROWS:,} rows",
    "walks": f"lists that read {ROWS:,} rows and find none",
    "uploads": "uploads of photos, with a worker",
    "copies": f"bulk requests of 20 copies of {SOURCE_BYTES >> 20} MiB, with a worker",
    "noise": "unknown tokens, unsigned events, unsigned links, unknown routes",
}
WITH_WORKER = ("uploads", "copies")
WARM_S = 2.0
AIM_FACTOR, AIM_MORE_MS = 2.0, 100.0

FILL = f"""
INSERT INTO attachments (organization_id, bucket, name, file_name, attachable_type, attachable_id,
                         state, policy_expires_at)
SELECT $1, '{BUCKET}', 'img.png', 'img.png', 'task', 1 + n % 2, 'ready', now()
FROM generate_series(1, {ROWS}) AS n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Felt:
    """The latencies in ms, and the failed requests, of an organization that does not flood."""

    ms: dict[str, list[float]] = field(
        default_factory=lambda: {"create": [], "show": [], "event": []}
    )
    failed: dict[str, int] = field(default_factory=lambda: {"create": 0, "show": 0, "event": 0})


async def run(site: Site) -> Table:
    """Measure each kind of flood on one API process. The flood comes from a separate process."""
    rounds = 60 if site.quick else 300
    connection = await asyncpg.connect(site.database_url, command_timeout=300)
    tokens = []
    for name in ("flooding", "other"):
        organization_id = await create_organization(connection, name)
        tokens.append((organization_id, await create_token(connection, organization_id, name)))
    await connection.execute(FILL, tokens[0][0])
    await connection.execute("VACUUM ANALYZE attachments")
    await connection.close()
    async with open_bucket(site.stack) as bucket:
        await bucket.put_object(Bucket=BUCKET, Key="uploads/source", Body=bytes(SOURCE_BYTES))
    environment = {
        **site.stack.environment(site.database_url),
        "ATTACHMENTS_API_PORT": "0",
    }
    source = f"{environment['ATTACHMENTS_S3_ENDPOINT_URL']}/{BUCKET}/uploads/source"
    results: dict[str, tuple[Felt, Felt]] = {}
    answers: dict[str, str] = {}
    for kind in KINDS:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            _, port = await stack.enter_async_context(
                running_module("api", environment=environment)
            )
            if kind in WITH_WORKER:
                worker = await WorkerProcess(environment).start()
                stack.callback(worker.close)
                site.stack.relay.target = f"http://127.0.0.1:{port}"
                stack.callback(setattr, site.stack.relay, "target", None)
            client = Client(
                session=session,
                base_url=f"http://127.0.0.1:{port}",
                organization_id=tokens[1][0],
                token=tokens[1][1],
            )
            await felt(client, 20)  # only warms the process up
            idle = await felt(client, rounds)
            with tempfile.NamedTemporaryFile(mode="r") as report:
                flooding = (
                    str(port),
                    kind,
                    str(tokens[0][0]),
                    tokens[0][1],
                    source,
                    report.name,
                )
                async with running_module("tests.benchmarks.flood", *flooding, environment={}):
                    await asyncio.sleep(WARM_S)
                    results[kind] = idle, await felt(client, rounds)
                    await asyncio.sleep(1.5)  # wait until the flood has written its next report
                answers[kind] = report.read()
    return _table(results, answers)


async def felt(client: Client, rounds: int) -> Felt:
    """Time three requests, one after the other: create an attachment, show it, send its event."""
    found = Felt()

    async def timed(name: str, action: Callable[[], Awaitable[int]]) -> None:
        began = time.perf_counter()
        status = await action()
        found.ms[name].append(1000 * (time.perf_counter() - began))
        found.failed[name] += status >= 400

    for _ in range(rounds):
        created: dict[str, str] = {}
        await timed("create", partial(_create, client, created))
        if created:
            await timed("show", partial(_show, client, created["id"]))
            await timed("event", partial(_send_event, client, created["key"]))
        await asyncio.sleep(0.005)
    return found


async def _create(client: Client, created: dict[str, str]) -> int:
    document = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}
    answer = await client.request("POST", "/api/v2/attachments", document)
    if answer.status == 201:
        created["id"] = answer.data["id"]
        created["key"] = answer.data["attributes"]["aws_policy"]["key"]
    return answer.status


async def _show(client: Client, attachment_id: str) -> int:
    return (await client.request("GET", f"/api/v2/attachments/{attachment_id}")).status


async def _send_event(client: Client, key: str) -> int:
    stored = {"bucket": {"name": BUCKET}, "object": {"key": key, "size": 1, "eTag": "e"}}
    body = json.dumps({"Records": [{"eventName": "s3:ObjectCreated:Put", "s3": stored}]}).encode()
    headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    async with client.session.post(
        f"{client.base_url}/events/s3", data=body, headers=headers
    ) as answer:
        await answer.read()
        return answer.status


def _table(results: dict[str, tuple[Felt, Felt]], answers: dict[str, str]) -> Table:
    table = make_table(
        f"others: p95 while one organization floods over {CONNECTIONS} connections",
        ["flood and request", "idle", "flooded", "aim", "failed"],
    )
    for kind, (idle, flooded) in results.items():
        for name in ("create", "show", "event"):
            before = quantiles(idle.ms[name], n=20)[-1]
            after = quantiles(flooded.ms[name], n=20)[-1]
            aim = AIM_FACTOR * before + AIM_MORE_MS
            table.add_row(
                f"{KINDS[kind]}: {name}",
                f"{before:.1f} ms",
                judged(f"{after:.1f} ms", reached=after <= aim),
                f"≤ {aim:.0f} ms",
                str(flooded.failed[name]),
            )
        table.add_row(f"the flood's answers: {answers[kind]}")
    return table
