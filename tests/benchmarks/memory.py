"""A file of 300 MiB that is no image: the worker's memory, and the bytes read from the store."""

import asyncio
import tempfile
from pathlib import Path
from random import Random

from rich.table import Table

from deploy.client.upload import upload_files
from tests.benchmarks.distant_store import running_proxy
from tests.benchmarks.processes import MIB, uss_bytes, watched
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.support.service import Client, running_service
from tests.support.service_processes import WorkerProcess

SIZE_MIB = 300
AIM_MIB = 32


async def run(site: Site) -> Table:
    """Upload the file twice: once named like an archive, once like a photo.

    The worker reads more of a file that is named like a photo.
    """
    table = make_table(
        f"memory: a file of {SIZE_MIB} MiB that is no image",
        ["named", "state", "worker before (USS)", "growth", "aim", "left the store"],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = await asyncio.to_thread(write, Path(folder) / "warm.bin", 1)
        async with running_service(site.stack, site.database_url) as service:
            with running_proxy(site.stack.seaweedfs.url, delay_s=0) as proxy:
                worker = WorkerProcess(service.environment, s3_endpoint_url=proxy.url)
                try:
                    await worker.start()
                    await upload(service.client, worker, path)
                    await asyncio.to_thread(write, path, SIZE_MIB)
                    for name in ("archive.bin", "holiday.jpg"):
                        path = path.rename(path.with_name(name))
                        read_before, before = proxy.received_bytes, uss_bytes(worker.pid)
                        peak, state = await upload(service.client, worker, path)
                        table.add_row(
                            name,
                            state,
                            f"{before / MIB:.0f} MiB",
                            *at_most((peak - before) / MIB, AIM_MIB, unit="MiB", digits=1),
                            f"{(proxy.received_bytes - read_before) / 1024:,.0f} KiB",
                        )
                finally:
                    worker.close()
    return table


def write(path: Path, size_mib: int) -> Path:
    """Write a file of random bytes, `size_mib` MiB long."""
    random = Random(1)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(random.randbytes(MIB))
    return path


async def upload(client: Client, worker: WorkerProcess, path: Path) -> tuple[int, str | None]:
    """Upload a file. Return the worker's peak memory (USS), and the state of the attachment."""
    async with watched(worker.pid) as peak:
        uploaded = await upload_files(client.base_url, client.token, client.organization_id, [path])
    return peak.bytes, uploaded[0].state
