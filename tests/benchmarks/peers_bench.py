"""Uploads per second and CPU time of the service's processes, compared with peers.

One peer is in Node: fastify, BullMQ and sharp. Another one is in Python: FastAPI, SQLAlchemy,
Celery and Pillow. Its worker runs once with as many child processes as the service has decoders,
and once with 10, because then more processes compute while others wait for the store.

All run an API process and a worker process on the same store, database and broker. All get the
same files, and their events one by one. Their rounds alternate, and the store's work for each is
the same.
"""

import asyncio
import io
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from PIL import Image, ImageDraw
from rich.table import Table

from tests.benchmarks.backlog import Worked, work_off_files
from tests.benchmarks.peers import node_peer, python_peer
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.photos import draw, picture
from tests.benchmarks.report import at_least, at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import running_service
from tests.support.service_processes import ApiProcess, WorkerProcess

ROUNDS = 5
PHOTOS_OF_TEN: Final = 7
"""The number of photos (JPEG, 1.6 MP) among ten files of the mix. The others are screenshots (PNG,
1080p)."""


PYTHON_PROCESSES: Final = (2, 10)
"""The numbers of child processes of the Celery worker. The service has 2 decoders."""

RATE_AIM: Final = 2.0
"""Aim: the uploads per second of the service, as a multiple of those of the peer in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Files of one kind: their title, and a function that makes the file with a number.

    `aim` is the largest allowed ratio of the service's CPU time to that of Node's peer.
    """

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
    """Return the kinds of files."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A running peer, its title, and the kind of ratio for which there is an aim."""

    title: str
    peer: Peer
    has_rate_aim: bool


async def run(site: Site) -> Table:
    """Measure the service and the peers alternately."""
    table = make_table(
        "peers: Node (fastify, BullMQ, sharp) and Python (FastAPI, SQLAlchemy, Celery, Pillow);"
        " CPU of API and worker for an upload; the ratios are those of the service",
        ["files", "program", "uploads/s", "ratio", "aim", "CPU", "ratio", "aim"],
    )
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running_service(site.stack, site.database_url))
        peers = await _start_peers(site, stack, table)
        worker = WorkerProcess(service.environment)
        stack.callback(worker.close)
        api = ApiProcess(service.environment, rate_limit="1000000")
        stack.callback(api.close)
        await asyncio.gather(worker.start(), api.start())
        for load in await asyncio.to_thread(loads, quick=site.quick):
            files = [load.file(number) for number in range(load.uploads)]
            ours: list[Worked] = []
            theirs: list[list[Worked]] = [[] for _ in peers]
            for number in range(1 + (1 if site.quick else ROUNDS)):
                sent = files if number else files[:20]  # the first round only warms up
                for each, worked in zip(peers, theirs, strict=True):
                    worked.append(await each.peer.work_off(sent))
                ours.append(await work_off_files(service, [worker, api], sent, to=api.url))
            table.add_row(load.title, "service", *_own_figures(ours[1:]))
            for each, worked in zip(peers, theirs, strict=True):
                table.add_row("", each.title, *_figures(ours[1:], worked[1:], each, load.aim))
    return table


async def _start_peers(site: Site, stack: AsyncExitStack, table: Table) -> list[Compared]:
    """Start the peers. Add a row for a peer that cannot run here."""
    peers = []
    if (program := node_peer.missing()) is not None:
        table.add_row("Node", f"{program} is not installed")
    else:
        node = await stack.enter_async_context(node_peer.running_node(site))
        peers.append(Compared(title="Node", peer=node, has_rate_aim=False))
    if (package := python_peer.missing()) is not None:
        table.add_row("Python", f"{package} is not installed: make bench installs it")
        return peers
    for number, processes in enumerate(PYTHON_PROCESSES):
        python = await stack.enter_async_context(
            python_peer.running_python(site, processes=processes, broker=8 + number)
        )
        title = f"Python, {processes} processes"
        peers.append(Compared(title=title, peer=python, has_rate_aim=True))
    return peers


def _own_figures(ours: list[Worked]) -> list[str]:
    rate, cpu_ms = median(each.uploads_per_s for each in ours), median(each.cpu_ms for each in ours)
    return [f"{rate:.1f}", "", "", f"{cpu_ms:.1f} ms"]


def _figures(
    ours: list[Worked], theirs: list[Worked], compared: Compared, cpu_aim: float
) -> list[str]:
    pairs = list(zip(ours, theirs, strict=True))
    rate = median(our.uploads_per_s / their.uploads_per_s for our, their in pairs)
    cpu = median(our.cpu_ms / their.cpu_ms for our, their in pairs)
    own, has_rate_aim = _own_figures(theirs), compared.has_rate_aim
    return [
        own[0],
        *(at_least(rate, RATE_AIM) if has_rate_aim else (f"{rate:.2f} ×", "")),
        own[3],
        *((f"{cpu:.2f} ×", "") if has_rate_aim else at_most(cpu, cpu_aim)),
    ]
