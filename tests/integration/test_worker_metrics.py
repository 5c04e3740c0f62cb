"""Tests of a worker's metrics: real uploads, killed decoders, and lost events and wake-ups."""

import asyncio
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from tests.support.decoders import find_decoders, has_job
from tests.support.faults import PHOTO, SOON, make_due, posted
from tests.support.scraping import Shown, shown
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import StartWorker

TEXT = b"a text without a thumbnail"


async def counted(worker: WorkerProcess, name: str, least: float = 1, **labels: str) -> Shown:
    """Wait until a sample is at least `least`, and return the scrape."""

    async def is_counted() -> Shown | None:
        found = await shown(worker)
        return found if found.sum(name, **labels) >= least else None

    found: Shown = await until(is_counted)
    return found


async def test_uploads_are_counted_by_outcome_and_timed_by_stage(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    for content, name in ((PHOTO, "photo.jpg"), (TEXT, "a.txt"), (b"GIF89a", "broken.gif")):
        await service.client.settled(await service.client.upload(content, name))
    await service.client.settled(await too_large(service))
    found = await counted(worker, "attachments_uploads_total", 4)
    assert found.sum("attachments_uploads_total", state="ready", reason="") == 2
    assert found.sum("attachments_uploads_total", state="ready", reason="damaged") == 1
    assert found.sum("attachments_uploads_total", state="rejected", reason="too_large") == 1
    assert found.sum("attachments_attempts_total", result="ended") == 4
    assert found.sum("attachments_upload_seconds_count") == 4
    for stage in ("queued", "read", "sniff", "commit"):
        assert found.sum("attachments_stage_seconds_count", stage=stage) == 4
    assert found.sum("attachments_stage_seconds_count", stage="decode") == 2
    assert found.sum("attachments_stage_seconds_count", stage="write") == 1
    assert found.sum("attachments_decoder_cpu_seconds_total", format="image/jpeg") > 0
    assert found.sum("attachments_decoder_peak_resident_bytes", kind="images") > 2**20
    assert found.sum("attachments_uploads_in_flight") == 0
    assert found.sum("attachments_store_read_bytes_total") >= len(PHOTO)
    assert found.sum("attachments_store_request_seconds_count", verb="put") >= 1
    assert found.sum("attachments_database_max_connections") == service.settings.database_pool


async def test_a_decoder_that_is_killed_is_counted_and_its_attempt_is_retried(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, decoders="1", **SOON)
    started = (await shown(worker)).sum("attachments_decoder_starts_total", kind="images")
    assert started >= 1
    for child in find_decoders(worker.pid):
        child.suspend()
    await service.client.upload(PHOTO, "img.jpg")
    await until(lambda: asyncio.sleep(0, has_job(worker.pid)))
    for child in find_decoders(worker.pid):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_STOPPED:
                child.kill()
    found = await counted(worker, "attachments_decoder_kills_total", kind="images", cause="died")
    found = await counted(worker, "attachments_attempts_total", result="retried")
    assert found.sum("attachments_decoders_busy") == 0
    assert found.sum("attachments_decoder_starts_total", kind="images") > started


async def test_what_only_the_sweep_finds_is_counted_by_the_cause(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, **SOON)
    # The event is lost, so the sweep checks the store.
    lost, _ = await posted(service)
    await make_due(service, lost.id)
    await counted(worker, "attachments_sweep_recovered_total", cause="no_event")
    # The wake-up is lost, so the row is due after the grace time.
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = revision + 1, due_at = now()"
        " WHERE id = $1",
        lost.id,
    )
    await counted(worker, "attachments_sweep_recovered_total", cause="no_wake_up")
    await counted(worker, "attachments_uploads_total", 2)
    # The worker with the claim has died, and its lease has ended.
    await service.execute(
        "UPDATE attachments SET state = 'processing', due_at = now() WHERE id = $1", lost.id
    )
    found = await counted(worker, "attachments_sweep_recovered_total", cause="dead_worker")
    assert found.sum("attachments_sweep_taken_total", duty="check") >= 1
    assert found.sum("attachments_sweep_last_run_timestamp_seconds") > 0


async def too_large(service: Service) -> str:
    """Upload more bytes than the row allows, but less than its policy allows."""
    created = await service.client.create("long.txt")
    attachment_id = str(created["data"]["id"])
    await service.execute("UPDATE attachments SET limit_size = 5 WHERE id = $1", int(attachment_id))
    status, body = await service.client.post_file(created, TEXT)
    assert status == 201, body
    return attachment_id
