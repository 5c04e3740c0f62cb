"""Decoders that belong to one organization: their cost, and how long one waits beside a flood.

The cost is the CPU of a worker and all its children for one upload, with organizations whose
events come mixed, against the same worker with ATTACHMENTS_DECODER_ISOLATION=none. The wait is the
time from the recorded event to `ready` of a small JPEG, alone and while another organization's PNGs
keep the worker busy.
"""

import asyncio
import io
from statistics import median, quantiles

import orjson
from PIL import Image
from rich.table import Table

from tests.benchmarks.backlog import PARALLEL, work_off
from tests.benchmarks.photos import draw, small_photo
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.data.images import encode
from tests.service import Client, Service, WorkerProcess, running_service, until

ROUNDS = 5
ORGANIZATIONS = (1, 2, 4, 16)
MODES = ("none", "organization")
AIM = 1.15
FLOOD = 200
IN_SLOTS = 30
"""A flood that the worker takes up as a whole, so that only the decoders are waited for."""


async def run(site: Site) -> Table:
    """Measure the cost in turns, then the wait."""
    table = make_table(
        "isolation: a decoder for each organization, JPEGs of 200 kB",
        ["", "none", "organization", "ratio", "aim"],
    )
    async with running_service(site.stack, site.database_url) as service:
        clients = [await service.organization(f"bench {n}") for n in range(max(ORGANIZATIONS))]
        for count in (1, 4, 16) if site.quick else ORGANIZATIONS:
            costs = [
                [await cost_ms(service, clients[:count], mode, quick=site.quick) for mode in MODES]
                for _ in range(2 if site.quick else ROUNDS)
            ]
            table.add_row(
                f"CPU of an upload, {count} organizations",
                f"{median(none for none, _ in costs):.1f} ms",
                f"{median(each for _, each in costs):.1f} ms",
                *at_most(median(each / none for none, each in costs), AIM),
            )
        for size in (0, IN_SLOTS, FLOOD):
            waits = [await waits_s(service, clients, mode, flood=size) for mode in MODES]
            table.add_row(
                f"wait of a small JPEG beside {size} PNGs: median",
                *(f"{median(each):.2f} s" for each in waits),
            )
            table.add_row(
                "95th percentile", *(f"{quantiles(each, n=20)[-1]:.2f} s" for each in waits)
            )
    return table


async def cost_ms(service: Service, clients: list[Client], mode: str, *, quick: bool) -> float:
    """Give the CPU time of one upload with one way of isolation."""
    photo = small_photo()
    worker = WorkerProcess(service.environment, decoder_isolation=mode, decoders="2")
    try:
        await worker.start()
        await work_off(service, worker, photo.content, uploads=16, clients=clients)
        uploads = 64 if quick else 192
        worked = await work_off(service, worker, photo.content, uploads=uploads, clients=clients)
        return worked.cpu_ms
    finally:
        worker.close()


async def waits_s(service: Service, clients: list[Client], mode: str, *, flood: int) -> list[float]:
    """Give how long the JPEGs of one organization took, one after the other, beside a flood."""
    other, flooding = clients[:2]
    worker = WorkerProcess(service.environment, decoder_isolation=mode, decoders="2")
    try:
        await worker.start()
        await other.settled(await other.upload(small_photo().content, "warm.jpg"))
        ids = await begin_flood(service, flooding, flood)
        waits: list[float] = []
        while len(waits) < 20 and (not waits or not flood or await open_uploads(service, ids)):
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
    finally:
        worker.close()


async def begin_flood(service: Service, client: Client, count: int) -> list[int]:
    """Upload PNGs of 1080 lines while their events are held, then let those go at once."""
    relay = service.stack.relay
    content = as_png(draw(1920, 1080, quality=90)) if count else b""
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


def as_png(content: bytes) -> bytes:
    """Write an image as PNG."""
    return encode(Image.open(io.BytesIO(content)).convert("RGB"), "PNG")


async def open_uploads(service: Service, ids: list[int]) -> int:
    """Count those that are not done."""
    return int(
        await service.database.fetchval(
            "SELECT count(*) FROM attachments"
            " WHERE id = ANY($1) AND state IN ('pending', 'uploaded', 'processing')",
            ids,
        )
    )
