"""The memory of a worker's main process during thousands of uploads of every size."""

import asyncio
from dataclasses import dataclass
from itertools import islice
from random import Random

from PIL import Image
from rich.table import Table

from tests.benchmarks.photos import SEED, draw, large_photo, small_photo
from tests.benchmarks.processes import MIB, running_module, uss_bytes, watched
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.data.images import encode
from tests.support.service import FINAL_STATES, Client, Service, running_service, until
from tests.support.service_processes import WorkerProcess

WARM_UPLOADS = 200
UPLOADS = 5000
QUICK_UPLOADS = 500
GROUP = 100
"""The number of uploads in a group.

The next group begins when all uploads of a group are processed.
"""

PARALLEL = 16
AIM_MIB = 32
SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A file, and how many of a thousand uploads are this file."""

    name: str
    content: bytes
    per_mille: int


def make_kinds() -> list[Kind]:
    """Make the files: most are small; a few are large or are no images."""
    random = Random(SEED)
    noise = Image.frombytes("RGB", (80, 80), random.randbytes(80 * 80 * 3))
    blob = random.randbytes(20 * MIB)
    return [
        Kind(name="empty.txt", content=b"", per_mille=50),
        Kind(name="note.txt", content=b"Dear all,\n" * 100, per_mille=275),
        Kind(name="logo.png", content=encode(noise, "PNG"), per_mille=325),
        Kind(name="photo.jpg", content=small_photo().content, per_mille=300),
        Kind(name="large.jpg", content=large_photo().content, per_mille=30),
        # This file is larger than what a worker buffers in memory.
        Kind(name="larger.jpg", content=draw(6400, 4800, quality=92), per_mille=10),
        Kind(name="archive.bin", content=blob, per_mille=5),
        Kind(name="holiday.jpg", content=blob, per_mille=5),
    ]


async def run(site: Site) -> Table:
    """Upload groups of files, and measure the memory of the one worker all the time."""
    uploads = QUICK_UPLOADS if site.quick else UPLOADS
    kinds = make_kinds()
    random = Random(SEED)
    queue = iter(
        random.choices(kinds, [kind.per_mille for kind in kinds], k=WARM_UPLOADS + uploads)
    )
    at_rest: list[int] = []
    async with running_service(site.stack, site.database_url) as service:
        worker = WorkerProcess(service.environment)
        settings = {**service.environment, "ATTACHMENTS_API_PORT": "0"}
        try:
            await worker.start()
            async with running_module("api", environment=settings) as (_, port):
                site.stack.relay.target = f"http://127.0.0.1:{port}"
                await _upload(service, list(islice(queue, WARM_UPLOADS)))
                before = uss_bytes(worker.pid)
                async with watched(worker.pid, every_s=SAMPLE_S) as peak:
                    while group := list(islice(queue, GROUP)):
                        await _upload(service, group)
                        at_rest.append(uss_bytes(worker.pid))
        finally:
            worker.close()
    table = make_table(
        f"growth: a worker's main process over {uploads:,} uploads, of nothing to 20 MB",
        ["memory (USS)", "figure", "growth", "aim"],
    )
    table.add_row(f"after the first {WARM_UPLOADS}", f"{before / MIB:.1f} MiB")
    quarter = len(at_rest) // 4
    for number in (1, 2, 3, 4):
        held = max(at_rest[(number - 1) * quarter : number * quarter])
        table.add_row(
            f"most between groups, quarter {number}",
            f"{held / MIB:.1f} MiB",
            f"{(held - before) / MIB:+.1f} MiB",
        )
    table.add_row(
        "most at any time",
        f"{peak.bytes / MIB:.1f} MiB",
        *at_most((peak.bytes - before) / MIB, AIM_MIB, unit="MiB", digits=1),
    )
    return table


async def _upload(service: Service, group: list[Kind]) -> None:
    """Upload files over PARALLEL connections, and wait until all are processed."""
    slots = asyncio.Semaphore(PARALLEL)
    client: Client = service.client

    async def one(kind: Kind) -> int:
        async with slots:
            return int(await client.upload(kind.content, kind.name))

    ids = await asyncio.gather(*(one(kind) for kind in group))

    async def done() -> bool:
        count = await service.database.fetchval(
            "SELECT count(*) FROM attachments WHERE id = ANY($1) AND state = ANY($2)",
            ids,
            FINAL_STATES,
        )
        return bool(count == len(ids))

    await until(done, within_s=120)
