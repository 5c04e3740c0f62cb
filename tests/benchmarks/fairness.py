"""How long organizations wait (p95) while another one floods a worker, and with an idle worker.

The wait is the time from the recorded event to `ready`, by the database's clock. One of the waiting
organizations has the same queue at the broker as the flood. So its wake-up comes after all wake-ups
of the flood in that queue.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

import orjson
from rich.table import Table

from shared.broker import QUEUES
from tests.benchmarks.backlog import PARALLEL
from tests.benchmarks.isolation import open_uploads
from tests.benchmarks.photos import Photo, draw
from tests.benchmarks.report import judged, make_table
from tests.benchmarks.site import Site
from tests.support.service import Client, Service, running_service, until
from tests.support.service_processes import WorkerProcess

FLOOD: Final = 4000
QUICK_FLOOD: Final = 800
IDLE: Final = 60
MOST: Final = 200
AIM_FACTOR, AIM_MORE_MS = 2.0, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """An organization that uploads one photo after the other, and its title in the table."""

    title: str
    client: Client


async def run(site: Site) -> Table:
    """Measure the waits of each organization on an idle worker, then during a flood."""
    photo = Photo(name="1440×1080", content=draw(1440, 1080, quality=83))
    size = QUICK_FLOOD if site.quick else FLOOD
    table = make_table(
        f"fairness: from recorded event to ready beside {size} photos of {photo.title}",
        ["", "idle", "flooded", "aim"],
    )
    async with running_service(site.stack, site.database_url) as service:
        flooding, others = await _organizations(service)
        worker = WorkerProcess(service.environment, decoders="2")
        try:
            await worker.start()
            for other in others:
                await _waits_ms(service, other.client, photo, count=5)
                idle = await _waits_ms(service, other.client, photo, count=IDLE)
                ids = await begin_flood(service, flooding, photo.content, size)
                beside = await _waits_ms(service, other.client, photo, count=MOST, beside=ids)
                _add(table, other.title, idle, beside)
                table.add_row("uploads/s of the flood", "", f"{await _rate(service, ids):.0f}", "")
        finally:
            worker.close()
    return table


async def _organizations(service: Service) -> tuple[Client, list[Other]]:
    """Create three organizations, and return their clients.

    The first one floods. The second one has another queue at the broker, the third one has the
    flood's queue.
    """
    flooding = await service.organization("flooding")
    apart = await service.organization("apart")
    while True:
        shares = await service.organization("shares a queue")
        if (shares.organization_id - flooding.organization_id) % QUEUES == 0:
            break
    return flooding, [
        Other(title="another queue", client=apart),
        Other(title="the flood's queue", client=shares),
    ]


async def begin_flood(service: Service, client: Client, content: bytes, count: int) -> list[int]:
    """Upload photos while their events are held back, then send all events.

    The events are sent as fast as the API accepts them. Returns when the last event is recorded.
    """
    relay = service.stack.relay
    relay.target, held_from = None, len(relay.seen)
    slots = asyncio.Semaphore(PARALLEL)

    async def one() -> int:
        async with slots:
            return int(await client.upload(content, "flood.jpg"))

    ids = await asyncio.gather(*(one() for _ in range(count)))

    def held() -> list[object]:
        return [body for body in relay.seen[held_from:] if "/original/" in body["key"]]

    async def all_held() -> bool:
        return len(held()) >= count

    await until(all_held, within_s=60)
    relay.target = service.base_url

    async def send(body: object) -> None:
        async with slots:
            await relay.post(orjson.dumps(body))

    await asyncio.gather(*(send(body) for body in held()))
    return ids


async def _waits_ms(
    service: Service, client: Client, photo: Photo, *, count: int, beside: Sequence[int] = ()
) -> list[float]:
    """Upload one photo after the other, and return the wait of each in milliseconds.

    The function ends after `count` photos, or when the flood `beside` is processed.
    """
    service.stack.relay.target = service.base_url
    waits: list[float] = []
    while len(waits) < count and (not beside or await open_uploads(service, list(beside))):
        attachment_id = int(await client.upload(photo.content, "photo.jpg"))
        await client.settled(attachment_id, within_s=300)
        waits.append(
            await service.database.fetchval(
                "SELECT 1000 * extract(epoch FROM processed_at - uploaded_at)::float8"
                " FROM attachments WHERE id = $1",
                attachment_id,
            )
        )
    return waits


async def _rate(service: Service, ids: list[int]) -> float:
    """Wait until all uploads of a flood are processed; return the flood's uploads per second."""

    async def over() -> bool:
        return not await open_uploads(service, ids)

    await until(over, within_s=900, every_s=0.5)
    seconds = await service.database.fetchval(
        "SELECT extract(epoch FROM max(processed_at) - min(uploaded_at))::float8"
        " FROM attachments WHERE id = ANY($1)",
        ids,
    )
    return len(ids) / float(seconds)


def _add(table: Table, title: str, idle: list[float], beside: list[float]) -> None:
    before, after = _p95(idle), _p95(beside)
    aim = AIM_FACTOR * before + AIM_MORE_MS
    table.add_row(
        f"{title}: median of {len(beside)}", f"{median(idle):.0f} ms", f"{median(beside):.0f} ms"
    )
    table.add_row(
        f"{title}: 95th percentile",
        f"{before:.0f} ms",
        judged(f"{after:.0f} ms", reached=after <= aim),
        f"≤ {aim:.0f} ms",
    )


def _p95(waits: list[float]) -> float:
    return quantiles(waits, n=20)[-1] if len(waits) > 1 else waits[0]
