"""Decoders that each serve one organization, compared with ATTACHMENTS_DECODER_ISOLATION=none.

Two things are compared. The first is the CPU time of a worker and its children for one upload,
while the events of several organizations are mixed. The second is the wait of one organization: the
time from the recorded event of a small JPEG to `ready`. The wait is measured with an idle worker,
and while another organization's PNGs keep the worker busy.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from statistics import median, quantiles
from typing import Final

import asyncpg
import orjson
from PIL import Image
from rich.table import Table

from tests.benchmarks.backlog import PARALLEL, work_off
from tests.benchmarks.photos import draw, small_photo
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import DATABASE, Site
from tests.data.images import encode
from tests.support.service import Client, Service, running_service, until
from tests.support.service_processes import WorkerProcess

ROUNDS = 5
ORGANIZATIONS = (1, 2, 4, 16)
MODES = ("none", "organization")
AIM = 1.15
FLOOD = 200
IN_SLOTS = 30
"""The number of uploads in a small flood. The worker has a slot for each of these uploads, so they
wait only for decoders.
"""

MOST_WAITS = 20
"""The maximum number of small JPEGs that are uploaded during a flood."""

OTHER_IDS: Final = 1_000_000
"""The first attachment id in the second database.

Both services use one bucket, so their ids must differ.
"""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A service with one kind of decoder isolation, its worker, and clients of organizations."""

    service: Service
    worker: WorkerProcess
    clients: list[Client]


async def run(site: Site) -> Table:
    """Measure the CPU time with both kinds of isolation alternately, then the waits."""
    table = make_table(
        "isolation: a decoder for each organization, JPEGs of 200 kB",
        ["", "none", "organization", "ratio", "aim"],
    )
    async with AsyncExitStack() as exits:
        # Both workers run all the time, but only one of them has work at a time.
        sides = [await exits.enter_async_context(running_side(site, mode)) for mode in MODES]
        uploads, rounds = (64, 2) if site.quick else (192, ROUNDS)
        for side in sides:
            await cost_ms(side, 2, uploads=32)
        for count in ORGANIZATIONS:
            costs = [
                [await cost_ms(side, count, uploads=uploads) for side in sides]
                for _ in range(rounds)
            ]
            none, organization = zip(*costs, strict=True)
            table.add_row(
                f"CPU of an upload, {count} organizations",
                f"{median(none):.1f} ms",
                f"{median(organization):.1f} ms",
                *at_most(median(each / without for without, each in costs), AIM),
            )
        for size in (FLOOD,) if site.quick else (0, IN_SLOTS, FLOOD):
            waits = [await waits_s(side, flood=size) for side in sides]
            table.add_row(
                f"wait of a small JPEG beside {size} PNGs: median",
                *(f"{median(each):.2f} s" for each in waits),
            )
            table.add_row(
                "95th percentile", *(f"{quantiles(each, n=20)[-1]:.2f} s" for each in waits)
            )
    return table


@asynccontextmanager
async def running_side(site: Site, mode: str) -> AsyncIterator[Side]:
    """Start a service with its own database, and a worker with one kind of isolation."""
    name, broker = f"isolation_{mode}", MODES.index(mode)
    connection = await asyncpg.connect(site.stack.postgres.url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE}")
    await connection.close()
    url = site.stack.postgres.database_url(name)
    connection = await asyncpg.connect(url)
    first = 1 + broker * OTHER_IDS
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {first}")
    await connection.close()
    broker_url = f"{site.stack.valkey.url.rpartition('/')[0]}/{broker}"
    async with running_service(site.stack, url, broker_url=broker_url) as service:
        clients = [await service.organization(f"bench {n}") for n in range(max(ORGANIZATIONS))]
        worker = WorkerProcess(service.environment, decoder_isolation=mode, decoders="2")
        try:
            await worker.start()
            yield Side(service=service, worker=worker, clients=clients)
        finally:
            worker.close()


async def cost_ms(side: Side, organizations: int, *, uploads: int) -> float:
    """Return the CPU time of the worker and its children for one upload, in milliseconds."""
    worked = await work_off(
        side.service,
        side.worker,
        small_photo().content,
        uploads=uploads,
        clients=side.clients[:organizations],
    )
    return worked.cpu_ms


async def waits_s(side: Side, *, flood: int) -> list[float]:
    """Return the waits of one organization's JPEGs during another organization's flood, in seconds.

    The JPEGs are uploaded one after the other.
    """
    service, (other, flooding) = side.service, side.clients[:2]
    service.stack.relay.target = service.base_url
    await other.settled(await other.upload(small_photo().content, "warm.jpg"))
    ids = await begin_flood(service, flooding, flood)
    waits: list[float] = []
    while len(waits) < MOST_WAITS and (not waits or not flood or await open_uploads(service, ids)):
        attachment_id = await other.upload(small_photo().content, "photo.jpg")
        await other.settled(attachment_id, within_s=300)
        waits.append(
            await service.database.fetchval(
                "SELECT extract(epoch FROM processed_at - uploaded_at)::float8"
                " FROM attachments WHERE id = $1",
                int(attachment_id),
            )
        )

    async def over() -> bool:
        return not await open_uploads(service, ids)

    await until(over, within_s=300)
    return waits if len(waits) > 1 else waits * 2


async def begin_flood(service: Service, client: Client, count: int) -> list[int]:
    """Upload PNGs of 1080 lines while their events are held back, then send all events together."""
    relay = service.stack.relay
    content = flood_png() if count else b""
    relay.target, held_from = None, len(relay.seen)
    slots = asyncio.Semaphore(PARALLEL)

    async def one() -> int:
        async with slots:
            return int(await client.upload(content, "flood.png"))

    ids = await asyncio.gather(*(one() for _ in range(count)))

    async def held() -> bool:
        return sum("/original/" in body["key"] for body in relay.seen[held_from:]) >= count

    await until(held, within_s=60)
    relay.target = service.base_url
    await asyncio.gather(*(relay.post(orjson.dumps(body)) for body in relay.seen[held_from:]))
    return ids


@cache
def flood_png() -> bytes:
    """Draw a PNG of 1080 lines."""
    image = Image.open(io.BytesIO(draw(1920, 1080, quality=90)))
    return encode(image.convert("RGB"), "PNG")


async def open_uploads(service: Service, ids: list[int]) -> int:
    """Count the uploads of these ids that are not processed yet."""
    return int(
        await service.database.fetchval(
            "SELECT count(*) FROM attachments"
            " WHERE id = ANY($1) AND state IN ('pending', 'uploaded', 'processing')",
            ids,
        )
    )
