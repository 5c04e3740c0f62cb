"""Valid events: an upload or a removal is recorded, even if the message has other records too."""

import json
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from shared.states import State
from shared.store_client import open_storage
from tests.support.dialects import DIALECTS, Dialect
from tests.support.events import RECORDED, REMOVED, filer, new_row, record, send
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker
from tests.support.valid_events import post_records


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_an_event_records_the_upload(service: Service, dialect: Dialect) -> None:
    row = await new_row(service)
    sent = dialect.make_event(BUCKET, row.key, etag="e1", version_id="v1", sequencer="0a", size=5)
    answer = await send(service, json.dumps(dialect.message(sent)).encode())
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    after = await service.row(row.id)
    assert (after.state, after.revision, after.etag) == ("uploaded", 1, "e1")
    assert after.version_id == ("v1" if dialect.versions else None)
    assert after.sequencer == ("0A" if dialect.ordered else None)
    assert after.size is None  # the worker reads the size later
    assert after.uploaded_at is not None
    # If no worker receives the wake-up, the sweep finds the due row.
    assert after.due_at is not None


async def test_the_md5_of_a_filer_event_is_used_if_it_has_no_etag(
    service: Service,
) -> None:
    row = await new_row(service)
    assert (await send(service, filer(row.key))).document["meta"] == RECORDED
    assert (await service.row(row.id)).etag == "86c489dfa7e78a487a06b1860805b086"


async def test_the_size_in_an_event_is_ignored(service: Service) -> None:
    row = await new_row(service)
    await post_records(service, record(row.key, size=10**12, eTag="e1", contentType="text/html"))
    after = await service.row(row.id)
    assert (after.size, after.content_type) == (None, None)


async def test_a_store_and_a_worker_take_it_from_the_event_to_the_end(working: Service) -> None:
    attachment_id = await working.client.upload(b"no image", "a.txt")
    resource = await working.client.settled(attachment_id)
    assert resource["meta"]["state"] == "ready"
    assert resource["attributes"]["size"] == len(b"no image")


async def test_good_records_count_among_others(service: Service) -> None:
    row = await new_row(service)
    meta = await post_records(
        service,
        record("elsewhere/a.png"),
        {"eventName": "ObjectCreated:Put"},
        record(row.key, eTag="e1"),
        record(row.key, bucket="other"),
    )
    assert meta == {"recorded": 1, "no_effect": 0, "ignored": 2, "unreadable": 1}
    assert (await service.row(row.id)).state == "uploaded"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("state", ["pending", "ready", "failed"])
async def test_a_removal_makes_the_store_be_asked(
    service: Service, state: State, dialect: Dialect
) -> None:
    row = await new_row(service)
    await service.execute(
        "UPDATE attachments SET state = $2, due_at = now() + interval '1 hour' WHERE id = $1",
        row.id,
        state,
    )
    before = await service.row(row.id)
    sent = dialect.make_event(BUCKET, row.key, removed=True, etag="e1", sequencer="0B")
    answer = await send(service, json.dumps(dialect.message(sent)).encode())
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    after = await service.row(row.id)
    assert after.due_at is not None
    assert after.due_at < datetime.now(UTC) + timedelta(minutes=1)
    # The event has changed only the time of the next check.
    assert (after.state, after.revision, after.resized) == (before.state, 0, before.resized)


async def test_a_removal_that_is_true_is_found_to_be_true(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service, sweep_interval="0.2")
    attachment_id = await service.client.upload(b"text", "a.txt")
    await service.client.settled(attachment_id)
    row = await service.row(attachment_id)
    assert row.state == "ready"
    # The event reports a removal, but the object still exists.
    await post_records(service, record(row.key, name=REMOVED))
    due = await service.row(attachment_id)
    assert due.state == "ready"

    async def asked() -> bool:
        found = await service.row(attachment_id)
        return found.due_at is not None and found.due_at > datetime.now(UTC) + timedelta(minutes=5)

    await until(asked)
    assert (await service.row(attachment_id)).state == "ready"

    # The test deletes the object, and SeaweedFS sends an event about this.
    with mock.patch.dict("os.environ", service.environment):
        async with open_storage(service.settings) as storage:
            await storage.delete(row.key)

    async def missing() -> bool:
        return (await service.row(attachment_id)).reason == "missing"

    await until(missing)
