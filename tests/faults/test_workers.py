"""Faults of workers: they are killed or stopped, or lose their claims."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from shared.due import Due, take_due
from shared.storage import Storage
from shared.styles import shown_thumbnails
from tests.support.faults import (
    PHOTO,
    SOON,
    changed,
    decoders,
    is_whole,
    make_due,
    no_orphans,
    processed,
    reaches,
)
from tests.support.health import becomes_ready
from tests.support.log_lines import named
from tests.support.objects import content
from tests.support.proxy import Proxy
from tests.support.service import Service, make_settings, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import Launch, StartService, StartWorker
from worker.app import make_app
from worker.runtime import Runtime

pytestmark = pytest.mark.fault

LOG_TASKS = """
import asyncio, signal
from worker.runtime import Runtime
start = Runtime.start
def start_and_tell(self):
    start(self)
    def log_tasks(*_):
        found = [task.get_coro().__qualname__ for task in asyncio.all_tasks(self._loop)]
        print("TASKS", *sorted(found), flush=True)
    signal.signal(signal.SIGUSR2, log_tasks)
Runtime.start = start_and_tell
"""


async def test_f1_uploads_of_a_killed_worker_are_processed_by_another(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    first = await start_worker(service, s3_endpoint_url=proxy.url, lease="2", **SOON)
    proxy.hold()
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(6)]
    for attachment_id in ids:
        await reaches(service, attachment_id, "processing")
    os.killpg(first.pid, signal.SIGKILL)
    await start_worker(service, **SOON)
    outputs = set()
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.claimed_revision) == (1, 1)
        assert row.attempt >= 2
        await is_whole(service, storage, attachment_id, PHOTO)
        assert row.thumbnail_key is not None
        outputs.add(await content(storage, row.thumbnail_key))
    assert len(outputs) == 1


async def test_f1_a_killed_worker_leaves_no_decoder(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    children = decoders(worker)
    assert len(children) == 2
    worker.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)
    assert alive == []


async def test_f3_a_worker_that_stops_under_load_loses_nothing(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    first = await start_worker(service, **SOON)
    ids = await asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(20)))

    async def begun() -> bool:
        rows = [await service.row(attachment_id) for attachment_id in ids]
        return any(row.state in ("processing", "ready") for row in rows)

    await until(begun, every_s=0.01)
    assert await first.stop() == 0
    rows = [await service.row(attachment_id) for attachment_id in ids]
    # No upload is `processing`: the stopped worker has released its uploads.
    assert {row.state for row in rows} <= {"uploaded", "ready"}
    await start_worker(service, **SOON)
    await service.execute("UPDATE attachments SET due_at = now() WHERE state = 'uploaded'")
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert row.revision == 1
        await is_whole(service, storage, attachment_id, PHOTO)


async def test_f3_a_slow_upload_is_released_at_once_on_stop(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    first = await start_worker(service, s3_endpoint_url=proxy.url, lease="600")
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "processing")
    await first.stop()
    assert (await service.row(attachment_id)).state == "uploaded"
    await start_worker(service, **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


@pytest.mark.parametrize("kills", [4, pytest.param(36, marks=pytest.mark.soak)])
async def test_f1_of_workers_that_are_killed_at_random_every_upload_comes_out_once(
    service: Service, start_worker: StartWorker, storage: Storage, kills: int
) -> None:
    chance = random.Random(kills)
    # Each kill counts as an attempt at each upload in processing. 20 attempts are enough for every
    # upload.
    settings = {"lease": "5", "attempts": "20", "concurrency": "4", **SOON}
    settings["styles"] = "medium:400,small:64"
    workers = [await start_worker(service, **settings) for _ in range(2)]
    ids: list[str] = []
    for _ in range(kills):
        uploads = (service.client.upload(PHOTO, "img.jpg") for _ in range(6))
        ids += await asyncio.gather(*uploads)
        await asyncio.sleep(chance.uniform(0, 0.3))
        victim = chance.choice(workers)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.kill()
        await victim.start()
    outputs = set()
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready", within_s=60)
        assert (row.revision, row.claimed_revision) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)
        await no_orphans(service, storage, attachment_id)
        assert set(shown_thumbnails(row)) == {"thumb", "medium", "small"}
        assert row.thumbnail_key is not None
        outputs.add(await content(storage, row.thumbnail_key))
    assert len(outputs) == 1


@pytest.mark.soak
async def test_f1_uploads_of_a_killed_worker_are_claimed_again_within_a_minute(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    """The default settings are tested: with them, the limit is one minute."""
    first = await start_worker(service, s3_endpoint_url=proxy.url)
    proxy.hold()
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(5)]
    for attachment_id in ids:
        await reaches(service, attachment_id, "processing")
    await start_worker(service)
    # The leases are renewed in this time. The kill then comes between two renewals.
    await asyncio.sleep(25)
    os.killpg(first.pid, signal.SIGKILL)

    async def taken_up() -> bool:
        rows = [await service.row(attachment_id) for attachment_id in ids]
        return all(row.attempt == 2 for row in rows)

    await until(taken_up, within_s=60)
    for attachment_id in ids:
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)


@pytest.mark.parametrize("restarts", [3, pytest.param(12, marks=pytest.mark.soak)])
async def test_f3_restarts_under_load_neither_lose_nor_double_an_upload(
    start_service: StartService, start_worker: StartWorker, storage: Storage, restarts: int
) -> None:
    service = await start_service(publish_grace="0.5")
    worker = await start_worker(service, **SOON)
    chance = random.Random(restarts)
    ids: list[str] = []
    counted: Counter[str] = Counter()
    for _ in range(restarts):
        uploads = (service.client.upload(PHOTO, "img.jpg") for _ in range(10))
        ids += await asyncio.gather(*uploads)
        await asyncio.sleep(chance.uniform(0, 0.5))
        assert await worker.stop() == 0
        counted += processed(worker)
        await worker.start()
    for attachment_id in ids:
        row = await reaches(service, attachment_id, "ready")
        assert row.revision == 1
        await is_whole(service, storage, attachment_id, PHOTO)
    await until(lambda: asyncio.sleep(0, counted + processed(worker) == Counter(ids)))


def test_f6_celery_has_no_soft_limit_to_resume_a_coroutine_by() -> None:
    """Celery's soft time limit is not set: it would raise its exception in the next task.

    No task of the service is a coroutine, because Celery never runs `async def` bodies.
    """
    made = make_settings(
        {
            "ATTACHMENTS_DATABASE_URL": "postgresql://nowhere/none",
            "ATTACHMENTS_BROKER_URL": "redis://nowhere:1/0",
            "ATTACHMENTS_S3_BUCKET": "bucket",
            "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
        }
    )
    app = make_app(made, Runtime(made))
    assert app.conf.task_soft_time_limit is None
    assert app.conf.task_time_limit is None
    for name, task in app.tasks.items():
        assert task.soft_time_limit is None
        assert not name.startswith("attachments.") or not asyncio.iscoroutinefunction(task.run)


async def logged_tasks(worker: WorkerProcess) -> list[str]:
    """Return the tasks in the event loop of a worker that LOG_TASKS has changed."""
    before = worker.log().count("TASKS")
    os.kill(worker.pid, signal.SIGUSR2)

    async def sent() -> list[str]:
        return re.findall(r'TASKS[^"\n]*', worker.log())[before:]

    (tasks,) = await until(sent)
    return str(tasks).split()[1:]


async def test_f6_of_an_upload_that_was_lost_to_another_nothing_goes_on(
    service: Service, launch: Launch, start_worker: StartWorker, storage: Storage, proxy: Proxy
) -> None:
    environment, program = service.environment, changed(LOG_TASKS, "worker")
    first = await launch(
        WorkerProcess(
            environment,
            program=program,
            s3_endpoint_url=proxy.url,
            lease="1",
            concurrency="3",
            sweep_interval="300",
        )
    )
    await becomes_ready(first, "worker")  # the task that logs the readiness has ended
    idle = await logged_tasks(first)
    proxy.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await until(lambda: asyncio.sleep(0, proxy.held))
    assert proxy.links > 0

    # Claim the upload, as another worker's sweep does after the end of a lease.
    async def taken() -> Sequence[Due]:
        # If the worker renews its lease between these two statements, `until` repeats them.
        async with service.database.acquire() as connection:
            await make_due(service, attachment_id)
            return (await take_due(connection, limit=1, lease_s=60, attempts=5)).due

    (due,) = await until(taken)

    async def noticed() -> bool:
        return "another worker took over" in first.log()

    await until(noticed)
    (line,) = named(first.log(), "another worker took over")
    assert line["organization"] == service.client.organization_id
    assert (line["attachment"], line["revision"], line["attempt"]) == (int(attachment_id), 1, 1)
    # Wait until the worker has closed its connections to the store.
    await until(lambda: asyncio.sleep(0, proxy.links == 0))
    requested = proxy.requested
    proxy.let_go()

    async def all_ended() -> bool:
        return await logged_tasks(first) == idle

    await until(all_ended)
    assert proxy.requested == requested
    assert not processed(first)
    row = await service.row(attachment_id)
    assert (row.state, row.attempt) == ("processing", due.attachment.attempt)
    # The worker's only slot is free again.
    other = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, other, "ready")
    await until(lambda: asyncio.sleep(0, processed(first) == Counter([other])))
    await make_due(service, attachment_id)
    await start_worker(service, **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)
