"""The time from a photo's arrival in the store to `ready`, with one client and with many."""

import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

from rich.table import Table

from deploy.client.upload import Uploaded, upload_files
from tests.benchmarks.photos import small_photo
from tests.benchmarks.processes import running_module
from tests.benchmarks.report import at_most, judged, make_table
from tests.benchmarks.site import Site
from tests.support.service import Client, running_service
from tests.support.service_processes import WorkerProcess

AIM_S = 0.5
PARALLEL = 50


async def run(site: Site) -> Table:
    """Upload as the command line does. The API and the worker are separate processes."""
    photo = small_photo()
    crowd = 100 if site.quick else 500
    table = make_table(
        f"latency: from the store's 201 to ready, {photo.title}", ["", "figure", "aim"]
    )
    async with running_service(site.stack, site.database_url) as service:
        settings = {**service.environment, "ATTACHMENTS_API_PORT": "0"}
        worker = WorkerProcess(service.environment)
        try:
            await worker.start()
            async with running_module("api", environment=settings) as (_, port):
                address = f"http://127.0.0.1:{port}"
                site.stack.relay.target = address
                with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
                    file.write(photo.content)
                    file.flush()
                    path = Path(file.name)
                    alone = []
                    for _ in range(5 if site.quick else 30):
                        alone += await upload(address, service.client, [path])
                    began = time.perf_counter()
                    together = await upload(address, service.client, [path] * crowd)
                    seconds = time.perf_counter() - began
        finally:
            worker.close()
    waits = [one.processing_seconds for one in alone if one.processing_seconds is not None]
    states = Counter(one.state for one in together)
    table.add_row(
        f"{len(alone)} one by one: median", *at_most(median(waits), AIM_S, unit="s", digits=3)
    )
    table.add_row("95th percentile", f"{quantiles(waits, n=20)[-1]:.3f} s")
    table.add_row(
        f"{crowd} at once: ready",
        judged(str(states["ready"]), reached=states["ready"] == crowd),
        str(crowd),
    )
    table.add_row("whole time, uploading included", f"{seconds:.1f} s")
    return table


async def upload(address: str, client: Client, paths: list[Path]) -> list[Uploaded]:
    """Upload files, and wait until all are processed."""
    return await upload_files(
        address, client.token, client.organization_id, paths, parallel=PARALLEL, timeout_s=120
    )
