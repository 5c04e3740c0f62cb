"""Uploads per second, and a worker's CPU time for one upload, compared with Pillow alone."""

import io
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median

from PIL import Image
from rich.table import Table

from tests.benchmarks.backlog import Worked, work_off
from tests.benchmarks.photos import large_photo, small_photo
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import running_service
from tests.support.service_processes import WorkerProcess

ROUNDS = 5


async def run(site: Site) -> Table:
    """Measure worker and Pillow alternately, so that a busy machine slows both equally."""
    table = make_table(
        "uploads: CPU of the worker and its two decoders, for one upload",
        ["JPEG", "uploads/s", "worker", "Pillow alone", "ratio", "aim"],
    )
    context = multiprocessing.get_context("spawn")
    async with running_service(site.stack, site.database_url) as service:
        worker = WorkerProcess(service.environment)
        try:
            await worker.start()
            with ProcessPoolExecutor(1, mp_context=context) as alone:
                for photo, uploads, aim in (
                    (small_photo(), 40 if site.quick else 200, 2.0),
                    (large_photo(), 20 if site.quick else 80, 1.25),
                ):
                    await work_off(service, worker, photo.content, uploads=10)
                    rounds: list[tuple[Worked, float]] = []
                    for _ in range(1 if site.quick else ROUNDS):
                        pillow = alone.submit(pillow_cpu_ms, photo.content, uploads).result()
                        worked = await work_off(service, worker, photo.content, uploads=uploads)
                        rounds.append((worked, pillow))
                    table.add_row(
                        photo.title,
                        f"{median(worked.uploads_per_s for worked, _ in rounds):.1f}",
                        f"{median(worked.cpu_ms for worked, _ in rounds):.1f} ms",
                        f"{median(pillow for _, pillow in rounds):.1f} ms",
                        *at_most(median(worked.cpu_ms / pillow for worked, pillow in rounds), aim),
                    )
        finally:
            worker.close()
    return table


def pillow_cpu_ms(content: bytes, times: int) -> float:
    """Make thumbnails as a plain script does. Return the CPU milliseconds of one thumbnail."""
    began = time.process_time()
    for _ in range(times):
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((320, 320), Image.Resampling.LANCZOS)
            image.save(io.BytesIO(), "JPEG", quality=82)
    return 1000 * (time.process_time() - began) / times
