"""A backlog of uploads: their events are held back, and then sent all together.

So the measured time does not include the work of the clients and the store.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.benchmarks.processes import cpu_s
from tests.support.service import FINAL_STATES, Client, Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import SomeProcess

PARALLEL = 8
WITHIN_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """The cost of processing `uploads` uploads. `cpu_s` includes the CPU time of the decoders."""

    uploads: int
    seconds: float
    cpu_s: float

    @property
    def uploads_per_s(self) -> float:
        """Return how many uploads were processed in a second."""
        return self.uploads / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return the CPU time of one upload in milliseconds."""
        return 1000 * self.cpu_s / self.uploads


async def work_off(
    service: Service,
    worker: WorkerProcess,
    content: bytes,
    *,
    uploads: int,
    clients: Sequence[Client] = (),
) -> Worked:
    """Upload `uploads` photos, send their events, and wait until the worker has processed all.

    Several clients upload alternately, so that the events of their organizations are mixed.
    """
    files = [content] * uploads
    return await work_off_files(service, [worker], files, to=service.base_url, clients=clients)


async def work_off_files(
    service: Service,
    processes: Sequence[SomeProcess],
    files: Sequence[bytes],
    *,
    to: str,
    clients: Sequence[Client] = (),
) -> Worked:
    """Upload files, send their events to the API at `to`, and wait until all are processed.

    The result has the CPU time of `processes`.
    """
    relay = service.stack.relay
    ids, held = await _hold_files(service, files, clients=clients)
    before = sum(cpu_s(process.pid) for process in processes)
    relay.target = to
    await asyncio.gather(*(relay.post(orjson.dumps(body)) for body in held))
    seconds = await _settled(service, ids)
    spent = sum(cpu_s(process.pid) for process in processes) - before
    return Worked(uploads=len(files), seconds=seconds, cpu_s=spent)


async def hold(
    service: Service, content: bytes, *, uploads: int, clients: Sequence[Client] = ()
) -> tuple[list[int], list[Any]]:
    """Upload files and hold their events back; return the attachment ids and the events."""
    return await _hold_files(service, [content] * uploads, clients=clients)


async def _hold_files(
    service: Service, files: Sequence[bytes], *, clients: Sequence[Client]
) -> tuple[list[int], list[Any]]:
    relay = service.stack.relay
    relay.target, held_from = None, len(relay.seen)
    ids = await _upload(clients or [service.client], files)

    async def all_held() -> list[Any] | None:
        # The store may still send events of an earlier round's thumbnails; these events are left
        # out.
        held = [body for body in relay.seen[held_from:] if "/original/" in body["key"]]
        return held if len(held) >= len(files) else None

    return ids, await until(all_held, within_s=120)


async def _upload(clients: Sequence[Client], files: Sequence[bytes]) -> list[int]:
    slots = asyncio.Semaphore(PARALLEL)

    async def one(number: int, content: bytes) -> int:
        async with slots:
            return int(await clients[number % len(clients)].upload(content, "photo.jpg"))

    return await asyncio.gather(*(one(*pair) for pair in enumerate(files)))


async def _settled(service: Service, ids: list[int]) -> float:
    """Wait until all uploads are `ready`. Return the seconds from the first event to then."""

    async def done() -> bool:
        row = await service.database.fetchrow(
            "SELECT count(*) FROM attachments WHERE id = ANY($1) AND state = ANY($2)",
            ids,
            FINAL_STATES,
        )
        return row is not None and row[0] == len(ids)

    await until(done, within_s=WITHIN_S)
    row = await service.database.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'ready'),"
        " extract(epoch FROM max(processed_at) - min(uploaded_at))"
        " FROM attachments WHERE id = ANY($1)",
        ids,
    )
    assert row is not None
    assert row[0] == len(ids), f"{len(ids) - row[0]} uploads are not ready"
    return float(row[1])
