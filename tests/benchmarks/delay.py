"""Uploads per second with a store that answers after 100 ms, compared with a store
without delay.
"""

from statistics import median

from rich.table import Table

from tests.benchmarks.backlog import work_off
from tests.benchmarks.distant_store import running_proxy
from tests.benchmarks.photos import small_photo
from tests.benchmarks.processes import MIB, watched
from tests.benchmarks.report import at_least, at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import running_service
from tests.support.service_processes import WorkerProcess

ROUNDS = 5
DELAY_S = 0.1
AIM_PERCENT = 80
AIM_MIB = 300
SAMPLE_S = 0.5


async def run(site: Site) -> Table:
    """Measure two workers alternately. One uses a proxy to the store that delays answers."""
    photo = small_photo()
    uploads = 60 if site.quick else 300
    near: list[float] = []
    far: list[float] = []
    async with running_service(site.stack, site.database_url) as service:
        store_url = site.stack.seaweedfs.url
        with (
            running_proxy(store_url, delay_s=0) as at_hand,
            running_proxy(store_url, delay_s=DELAY_S) as away,
        ):
            memory = []
            for _ in range(1 if site.quick else ROUNDS):
                for proxy, results in ((at_hand, near), (away, far)):
                    # Only one worker runs at a time. Otherwise each would process part of the
                    # other's uploads.
                    worker = WorkerProcess(service.environment, s3_endpoint_url=proxy.url)
                    try:
                        await worker.start()
                        await work_off(service, worker, photo.content, uploads=10)
                        async with watched(worker.pid, children=True, every_s=SAMPLE_S) as peak:
                            worked = await work_off(service, worker, photo.content, uploads=uploads)
                        results.append(worked.uploads_per_s)
                        memory.append(peak.bytes)
                    finally:
                        worker.close()
    table = make_table(
        f"delay: uploads/s of {photo.title}, one worker, two decoders",
        ["", "0 ms", f"+{1000 * DELAY_S:.0f} ms", "ratio", "aim"],
    )
    percent = median(100 * b / a for a, b in zip(near, far, strict=True))
    table.add_row(
        "uploads/s",
        f"{median(near):.1f}",
        f"{median(far):.1f}",
        *at_least(percent, AIM_PERCENT, unit="%", digits=0),
    )
    figure, aim = at_most(max(memory[1::2]) / MIB, AIM_MIB, unit="MiB", digits=0)
    table.add_row(
        "most memory (USS) of worker and decoders",
        f"{max(memory[::2]) / MIB:.0f} MiB",
        figure,
        "",
        aim,
    )
    return table
