"""Each metric of a worker has the value that real uploads, losses and faults must give it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio
from aiohttp import web

from deploy.embedded.valkey import EmbeddedValkey
from tests.support.decoders import has_job
from tests.support.faults import PHOTO, SOON, changed, decoders, make_due, posted, reaches
from tests.support.metric_values import OFTEN, Table, Within, reached, shows_exactly
from tests.support.proxy import Proxy
from tests.support.receiver import SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import Launch, StartService

pytestmark = pytest.mark.fault

TEXT = b"a text without a thumbnail"
BROKEN = b"GIF89a"
READ = 6 * len(PHOTO) + 3 * len(TEXT) + len(BROKEN)
MARK_BYTES = 32
"""The size in bytes of the object by which a worker recognises its bucket. Each check reads this
object."""


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver of webhooks on loopback."""
    async with running_receiver() as running:
        yield running


async def gone(_request: web.Request) -> web.StreamResponse:
    """Answer 410, which means that the receiver no longer exists."""
    return web.Response(status=410)


AT_REST: Table = {
    'attachments_attempts_total{result="ended"}': 9,
    'attachments_attempts_total{result="retried"}': 3,
    "attachments_attempts_total": 12,
    "attachments_backlog_oldest_seconds": 0,
    "attachments_backlog_uploads": 0,
    "attachments_broker_up": 1,
    'attachments_database_connections{state="in_use"}': 0,
    'attachments_database_connections{state="free"}': Within(1, 10),
    "attachments_database_errors_total": 0,
    "attachments_database_max_connections": 10,
    "attachments_database_wait_seconds_count": Within(1),
    "attachments_dead_letters": 1,
    'attachments_decoder_cpu_seconds_total{format="image/jpeg"}': Within(0.001, 10),
    'attachments_decoder_kills_total{kind="images",cause="died"}': 1,
    'attachments_decoder_kills_total{kind="images",cause="idle"}': 1,
    "attachments_decoder_kills_total": 2,
    'attachments_decoder_peak_resident_bytes{kind="images"}': Within(2**20, 2**30),
    'attachments_decoder_starts_total{kind="images"}': 4,
    "attachments_decoders_busy": 0,
    "attachments_due_oldest_seconds": 0,
    "attachments_due_rows": 0,
    "attachments_leases_lost_total": 0,
    "attachments_log_lines_dropped_total": 0,
    "attachments_older_objects_total": 0,
    "attachments_scans_total": 0,
    # The metric counts the first attempt for each revision of a row. In `lose_messages`, three
    # attempts have only two revisions.
    'attachments_stage_seconds_count{stage="queued"}': 8,
    'attachments_stage_seconds_count{stage="decode"}': 7,
    'attachments_stage_seconds_count{stage="write"}': 5,
    'attachments_stage_seconds_count{stage="commit"}': 9,
    'attachments_store_errors_total{verb="get",error="unavailable"}': 1,
    'attachments_store_errors_total{verb="get",error="refused"}': 1,
    "attachments_store_errors_total": 2,
    "attachments_store_read_bytes_total": Within(READ + MARK_BYTES, READ + 20 * MARK_BYTES),
    'attachments_store_request_seconds_count{verb="head"}': 1,
    "attachments_sweep_last_run_timestamp_seconds": Within(time.time(), time.time() + 3600),
    'attachments_sweep_recovered_total{cause="no_event"}': 1,
    'attachments_sweep_recovered_total{cause="no_wake_up"}': 1,
    'attachments_sweep_recovered_total{cause="dead_worker"}': 1,
    'attachments_sweep_taken_total{duty="check"}': 1,
    'attachments_sweep_taken_total{duty="process"}': 5,
    "attachments_sweep_taken_total": 6,
    "attachments_trace_spans_total": 0,
    "attachments_upload_seconds_count": 9,
    "attachments_uploads_in_flight": 0,
    'attachments_uploads_total{state="ready",reason=""}': 7,
    'attachments_uploads_total{state="ready",reason="damaged"}': 1,
    'attachments_uploads_total{state="rejected",reason="too_large"}': 1,
    "attachments_uploads_total": 9,
    "attachments_wake_ups_waiting": 0,
    'attachments_webhook_deliveries_total{result="delivered"}': 2,
    'attachments_webhook_deliveries_total{result="gone"}': 1,
    'attachments_webhooks_deactivated_total{reason="gone"}': 1,
}
"""The expected metrics of a worker without uploads, after the steps up to `lose_messages`."""

BUSY: Table = {
    "attachments_backlog_oldest_seconds": Within(100, 400),
    "attachments_backlog_uploads": 2,
    'attachments_decoders_busy{kind="images"}': 1,
    "attachments_due_oldest_seconds": Within(100, 400),
    "attachments_due_rows": 1,
    "attachments_uploads_in_flight": 2,
    "attachments_wake_ups_waiting": 3,
}
"""The expected metrics of a worker with three slots and four uploads, in `fill_the_slots`.

One slot is reserved for other organizations, and one for the sweep. One upload has a decoder that
does not answer, and another one waits for this decoder. The third upload is due. The fourth waits
in the worker.
"""

TAKEN_OVER: Table = {
    'attachments_attempts_total{result="given_back"}': 2,
    'attachments_decoder_kills_total{kind="images",cause="cancelled"}': 1,
    "attachments_leases_lost_total": 2,
}


async def test_each_metric_of_a_worker_has_its_value(
    start_service: StartService,
    launch: Launch,
    receiver: Receiver,
    proxy: Proxy,
    valkey: EmbeddedValkey,
) -> None:
    service = await start_service(broker_url=valkey.url, publish_grace="300", **SETTINGS)
    worker = await launch(
        WorkerProcess(
            service.environment,
            program=changed(OFTEN, "worker"),
            s3_endpoint_url=proxy.url,
            concurrency="3",
            decoders="1",
            lease="3",
            **SOON,
        )
    )
    await service.stack.relay.post(b"no JSON")
    await process_files(service, receiver)
    await fail_at_the_store(service, proxy)
    await kill_the_decoder(service, worker)
    await lose_messages(service)
    shows_exactly(await reached(worker, AT_REST), "W", AT_REST)
    await fill_the_slots(service, worker)
    await service.execute("UPDATE attachments SET attempt = attempt + 1 WHERE state = 'processing'")
    await reached(worker, TAKEN_OVER)
    valkey.kill()
    await reached(worker, {"attachments_broker_up": 0})


async def process_files(service: Service, receiver: Receiver) -> None:
    """Process four files (two ready, one damaged, one rejected), and deliver two webhook events."""
    await make_webhook(service.client, receiver, events=["attachment.ready"])
    for content, name in ((PHOTO, "photo.jpg"), (TEXT, "a.txt")):
        await receiver.wait_for(await service.client.upload(content, name), "attachment.ready")
    receiver.answer = gone
    broken = await service.client.upload(BROKEN, "broken.gif")
    await receiver.wait_for(broken, "attachment.ready")
    created = await service.client.create("long.txt")
    too_large = int(created["data"]["id"])
    await service.execute("UPDATE attachments SET limit_size = 5 WHERE id = $1", too_large)
    await service.client.post_file(created, TEXT)
    await reaches(service, too_large, "rejected")


async def fail_at_the_store(service: Service, proxy: Proxy) -> None:
    """Make two attempts at an upload fail: the store is unavailable, then it refuses a request."""
    proxy.answer(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
    attachment_id = await service.client.upload(TEXT, "a.txt")
    await reaches(service, attachment_id, "uploaded", attempt=1)
    proxy.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "uploaded", attempt=2)
    proxy.let_go()
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready", attempt=3)


async def kill_the_decoder(service: Service, worker: WorkerProcess) -> None:
    """Kill the decoder that works on an upload. The second attempt at the upload succeeds."""
    for child in decoders(worker):
        child.suspend()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await until(lambda: asyncio.sleep(0, has_job(worker.pid)))
    for child in decoders(worker):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_STOPPED:
                child.kill()
    await reaches(service, attachment_id, "uploaded", attempt=1)
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready", attempt=2)


async def lose_messages(service: Service) -> None:
    """Let the sweep find an upload three times: its event, its wake-up and its worker are lost."""
    row, _ = await posted(service)
    service.stack.relay.target = service.base_url  # later events reach the API
    await make_due(service, row.id)
    await reaches(service, row.id, "ready")
    for state, revision in (("uploaded", 1), ("processing", 0)):
        await service.execute(
            "UPDATE attachments SET state = $2, revision = revision + $3, due_at = now()"
            " WHERE id = $1",
            row.id,
            state,
            revision,
        )
        await reaches(service, row.id, "ready")


async def fill_the_slots(service: Service, worker: WorkerProcess) -> None:
    """Suspend the decoders, and upload more files than the worker has slots for."""
    for child in decoders(worker):
        child.suspend()
    ids = [await service.client.upload(PHOTO, "img.jpg") for _ in range(4)]
    await reached(worker, {"attachments_uploads_in_flight": 1, "attachments_wake_ups_waiting": 3})
    await service.execute(
        "UPDATE attachments SET uploaded_at = uploaded_at - interval '100 s',"
        " due_at = now() - interval '100 s' WHERE state = 'uploaded' AND id = ANY($1)",
        [int(each) for each in ids[:3]],
    )
    await reached(worker, BUSY)
