"""Uploads per second and CPU time of the service's processes, compared with a peer in Node.

Both run an API process and a worker process on the same store, database and broker. Both get the
same files, and their events one by one. A round of one runs after a round of the other, and the
store's work for both is the same.
"""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from PIL import Image, ImageDraw
from rich.table import Table

from tests.benchmarks.backlog import Worked, work_off_files
from tests.benchmarks.peers.node_peer import missing, running_node
from tests.benchmarks.photos import draw, picture
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import running_service
from tests.support.service_processes import ApiProcess, WorkerProcess

ROUNDS = 5
PHOTOS_OF_TEN: Final = 7
"""The number of photos (JPEG, 1.6 MP) among ten files of the mix. The others are screenshots (PNG,
1080p)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Files of one kind: their title, the file with a number, and the largest allowed ratio."""

    title: str
    file: Callable[[int], bytes]
    uploads: int
    aim: float


def screenshot() -> bytes:
    """Draw a PNG of 1920×1080 pixels with windows, lines of text and a gradient."""
    image = Image.linear_gradient("L").resize((1920, 1080)).convert("RGB")
    pen = ImageDraw.Draw(image)
    for window in range(3):
        left, top = 80 + 560 * window, 90 + 60 * window
        pen.rectangle(
            (left, top, left + 700, top + 720), fill=(250, 250, 252), outline=(60, 60, 70)
        )
        for line in range(40):
            text = f"{window * 40 + line:04} the quick brown fox {line * 7919 % 10007} jumps"
            pen.text((left + 20, top + 20 + 17 * line), text, fill=(20, 20, 30 + line))
    image.paste(picture(400, 300), (1480, 740))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6)
    return file.getvalue()


def loads(*, quick: bool) -> list[Load]:
    """Return the kinds of files, with the aims for the CPU time of the service against Node's."""
    photo, large, shot = draw(1440, 1080, quality=84), draw(4160, 3120, quality=89), screenshot()
    webp = io.BytesIO()
    picture(4160, 3120).save(webp, "WEBP", quality=85, method=2)
    many, few = (40, 10) if quick else (200, 60)
    return [
        Load(title="JPEG, 1.6 MP", file=lambda _: photo, uploads=many, aim=0.8),
        Load(title="JPEG, 13 MP", file=lambda _: large, uploads=few, aim=0.8),
        Load(title="PNG, 1080p", file=lambda _: shot, uploads=few, aim=1.0),
        Load(title="WebP, 13 MP", file=lambda _: webp.getvalue(), uploads=few, aim=1.0),
        Load(
            title="mix",
            file=lambda number: photo if number % 10 < PHOTOS_OF_TEN else shot,
            uploads=many,
            aim=0.85,
        ),
    ]


async def run(site: Site) -> Table:
    """Measure the service and the peer alternately."""
    table = make_table(
        "peers: the service against fastify, BullMQ and sharp; CPU of API and worker for an upload",
        ["files", "uploads/s", "Node's", "rate", "CPU", "Node's", "ratio", "aim"],
    )
    if (program := missing()) is not None:
        table.add_row(f"{program} is not installed")
        return table
    async with (
        running_service(site.stack, site.database_url) as service,
        running_node(site) as node,
    ):
        worker = WorkerProcess(service.environment)
        api = ApiProcess(service.environment, rate_limit="1000000")
        try:
            await asyncio.gather(worker.start(), api.start())
            for load in await asyncio.to_thread(loads, quick=site.quick):
                files = [load.file(number) for number in range(load.uploads)]
                rounds: list[tuple[Worked, Worked]] = []
                for number in range(1 + (1 if site.quick else ROUNDS)):
                    sent = files if number else files[:10]
                    theirs = await node.work_off(sent)
                    ours = await work_off_files(service, [worker, api], sent, to=api.url)
                    if number:  # the first round only warms up
                        rounds.append((ours, theirs))
                table.add_row(load.title, *_figures(rounds, load.aim))
        finally:
            worker.close()
            api.close()
    return table


def _figures(rounds: list[tuple[Worked, Worked]], aim: float) -> list[str]:
    return [
        f"{median(ours.uploads_per_s for ours, _ in rounds):.1f}",
        f"{median(theirs.uploads_per_s for _, theirs in rounds):.1f}",
        f"{median(ours.uploads_per_s / theirs.uploads_per_s for ours, theirs in rounds):.2f} ×",
        f"{median(ours.cpu_ms for ours, _ in rounds):.1f} ms",
        f"{median(theirs.cpu_ms for _, theirs in rounds):.1f} ms",
        *at_most(median(ours.cpu_ms / theirs.cpu_ms for ours, theirs in rounds), aim),
    ]
