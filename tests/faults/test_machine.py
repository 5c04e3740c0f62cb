"""Faults of a worker's machine: no disk space, or a wrong clock."""

import asyncio
import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared import lifecycle
from shared.storage import Storage
from tests.data import images
from tests.support.faults import (
    PHOTO,
    SOON,
    changed,
    is_whole,
    make_due,
    no_orphans,
    processed,
    reaches,
)
from tests.support.proxy import Proxy
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import Launch, StartWorker

pytestmark = pytest.mark.fault

FEW_BYTES = 2 * 1024 * 1024

LIMIT_FILES = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({FEW_BYTES}, {FEW_BYTES}))
"""

TRAVEL = """
import time, time_machine
time_machine.travel(time.time() + {seconds}, tick=True).start()
"""


async def test_f22_a_worker_that_may_write_no_large_file_fails_clean(
    service: Service, launch: Launch, start_worker: StartWorker, storage: Storage, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**service.environment, "TMPDIR": str(folder)}
    program = changed(LIMIT_FILES, "worker")
    worker = await launch(WorkerProcess(environment, program=program, attempts="1", **SOON))
    in_memory = images.encode(images.noise(1100, 900), "PNG")
    in_a_file = images.encode(images.noise(1600, 1200), "PNG")
    assert FEW_BYTES < len(in_memory) < 4 * 1024 * 1024 < len(in_a_file)
    bodies = {}
    for body in (in_memory, in_a_file):
        created = await service.client.create("img.png")
        row = await service.row(created["data"]["id"])
        await storage._client.put_object(Bucket=storage.bucket, Key=row.key, Body=io.BytesIO(body))
        bodies[row.id] = body
    small = await service.client.upload(PHOTO, "img.jpg")
    for attachment_id in bodies:
        row = await reaches(service, attachment_id, "failed")
        assert row.reason is not None
        assert not row.resized
        await no_orphans(service, storage, attachment_id)
    await reaches(service, small, "ready")  # small uploads need no disk
    assert worker.process is not None
    assert worker.process.poll() is None
    assert list(folder.iterdir()) == []
    await worker.stop()
    await start_worker(service, **SOON)
    async with service.database.acquire() as connection:
        assert len(await lifecycle.retry(connection, list(bodies))) == 2
    for attachment_id, body in bodies.items():
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, body)


async def test_f23_workers_whose_clocks_are_wrong_take_nothing_early(
    service: Service, launch: Launch, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    right = await start_worker(service, s3_endpoint_url=proxy.url, lease="6", **SOON)
    proxy.hold()
    held = await service.client.upload(PHOTO, "img.jpg")
    claimed = await reaches(service, held, "processing")
    # The policy of this attachment is valid for an hour. The worker whose clock is an hour ahead
    # must not make the policy expire early.
    waiting = (await service.client.create("img.jpg"))["data"]["id"]
    environment = service.environment
    ahead, behind = await asyncio.gather(
        *(
            launch(
                WorkerProcess(
                    environment,
                    program=changed(TRAVEL.format(seconds=seconds), "worker"),
                    lease="6",
                    **SOON,
                )
            )
            for seconds in (3600, -3600)
        )
    )
    for wrong, sign in ((ahead, 1), (behind, -1)):
        shown = datetime.fromisoformat(json.loads(wrong.log().splitlines()[-1])["timestamp"])
        assert sign * (shown - datetime.now(UTC)).total_seconds() > 3000
    # The pause is longer than the lease. Each worker makes 35 sweeps in this time.
    await asyncio.sleep(7)
    row = await service.row(held)
    assert (row.state, row.attempt) == ("processing", claimed.attempt)
    assert (await service.row(waiting)).state == "pending"
    proxy.let_go()
    await reaches(service, held, "ready")
    await is_whole(service, storage, held, PHOTO)
    await until(lambda: asyncio.sleep(0, processed(right) == Counter([held])))
    # Now only the two workers with wrong clocks run. One of them claims the upload. If the store
    # accepts this worker's signature, the upload becomes `ready`. If not, the upload is `uploaded`
    # again, for another attempt.
    await right.stop()
    last = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, last, "ready", "uploaded", attempt=1)
    assert row.reason in (None, "store_refused")
    await asyncio.gather(ahead.stop(), behind.stop())
    await right.start()
    if row.state != "ready":
        await make_due(service, last)
    row = await reaches(service, last, "ready")
    assert row.revision == 1
    await is_whole(service, storage, last, PHOTO)
    await no_orphans(service, storage, last)
