"""What valid events do: an object is there, whoever says it and however often."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio

from shared.attachments import Attachment
from shared.store_client import open_storage
from tests.support.databases import clone_database
from tests.support.dialects import DIALECTS, ORDERED, Dialect
from tests.support.events import (
    EVENTS,
    NO_EFFECT,
    RECORDED,
    REMOVED,
    basic,
    filer,
    message,
    new_row,
    record,
    send,
)
from tests.support.service import Service, running_service, until
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack
from tests.support.starting import StartService, StartWorker


async def tell(service: Service, *records: Any) -> dict[str, int]:
    """Send records and return the counts of the answer."""
    answer = await send(service, message(*records))
    assert answer.status == 200, answer.body
    meta: dict[str, int] = answer.document["meta"]
    return meta


async def make_ready(service: Service, row: Attachment) -> Attachment:
    """Bring about what a worker leaves behind."""
    await service.execute(
        "UPDATE attachments SET state = 'ready', due_at = NULL, claimed_revision = revision,"
        " resized = true, thumbnail_name = file_name WHERE id = $1",
        row.id,
    )
    return await service.row(row.id)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(stack: Stack) -> AsyncIterator[Service]:
    """One API for the whole module: each test has attachments of its own."""
    async with running_service(stack, await clone_database(stack)) as running:
        yield running


# -- one event ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_an_event_records_the_upload(service: Service, dialect: Dialect) -> None:
    row = await new_row(service)
    told = dialect.tell(BUCKET, row.key, etag="e1", version_id="v1", sequencer="0a", size=5)
    answer = await send(service, json.dumps(dialect.message(told)).encode())
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    after = await service.row(row.id)
    assert (after.state, after.revision, after.etag) == ("uploaded", 1, "e1")
    assert after.version_id == ("v1" if dialect.versions else None)
    assert after.sequencer == ("0A" if dialect.ordered else None)
    assert after.size is None  # the store will tell
    assert after.uploaded_at is not None
    assert after.due_at is not None  # the sweep takes over if no worker hears of it


async def test_an_event_of_the_filer_tells_the_md5_where_it_tells_no_etag(
    service: Service,
) -> None:
    row = await new_row(service)
    assert (await send(service, filer(row.key))).document["meta"] == RECORDED
    assert (await service.row(row.id)).etag == "86c489dfa7e78a487a06b1860805b086"


async def test_what_an_event_says_of_the_size_is_not_believed(service: Service) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, size=10**12, eTag="e1", contentType="text/html"))
    after = await service.row(row.id)
    assert (after.size, after.content_type) == (None, None)


async def test_a_store_and_a_worker_take_it_from_the_event_to_the_end(working: Service) -> None:
    attachment_id = await working.client.upload(b"no image", "a.txt")
    resource = await working.client.settled(attachment_id)
    assert resource["meta"]["state"] == "ready"
    assert resource["attributes"]["size"] == len(b"no image")


# -- many events, in any order ------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({"eTag": "e1", "sequencer": "0A"}, id="etag-and-sequencer"),
        pytest.param({"sequencer": "0A"}, id="sequencer-only"),
        pytest.param({"eTag": "e1"}, id="etag-only"),
        pytest.param({}, id="neither"),
    ],
)
async def test_a_duplicate_has_no_effect(service: Service, item: dict[str, str]) -> None:
    row = await new_row(service)
    assert await tell(service, record(row.key, **item)) == RECORDED
    once = await service.row(row.id)
    for _ in range(9):
        assert await tell(service, record(row.key, **item)) == NO_EFFECT
    assert await service.row(row.id) == once


async def test_duplicates_that_come_at_one_time_have_one_effect(service: Service) -> None:
    row = await new_row(service)
    body = message(record(row.key, eTag="e1", sequencer="0A"))
    answers = await asyncio.gather(*(send(service, body) for _ in range(20)))
    assert sum(answer.document["meta"]["recorded"] for answer in answers) == 1
    assert (await service.row(row.id)).revision == 1


async def test_a_duplicate_of_what_is_processed_has_no_effect(service: Service) -> None:
    row = await new_row(service)
    event = record(row.key, eTag="e1", sequencer="0A")
    await tell(service, event)
    ready = await make_ready(service, row)
    assert await tell(service, event) == NO_EFFECT
    # nor has one by another way, which tells only the etag
    assert await tell(service, record(row.key, eTag="e1")) == NO_EFFECT
    assert await service.row(row.id) == ready


@pytest.mark.parametrize(
    ("known", "late"),
    [
        ("0B", "0A"),
        ("0b", "0A"),
        ("2", "1FFFFFFF"),
        ("10", "1"),
        ("1", "10000"),
        ("0064D3901D00059243", "0064D3901D00059242"),
    ],
)
async def test_an_older_event_that_comes_late_changes_nothing(
    service: Service, known: str, late: str
) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="new", sequencer=known))
    before = await service.row(row.id)
    assert await tell(service, record(row.key, eTag="old", sequencer=late)) == NO_EFFECT
    assert await service.row(row.id) == before


@pytest.mark.parametrize(("known", "newer"), [("0A", "0B"), ("1", "11"), ("1FFFFF", "2")])
async def test_a_newer_event_counts_as_a_new_upload(
    service: Service, known: str, newer: str
) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="old", sequencer=known))
    await make_ready(service, row)
    assert await tell(service, record(row.key, eTag="new", sequencer=newer)) == RECORDED
    after = await service.row(row.id)
    assert (after.state, after.revision, after.etag) == ("uploaded", 2, "new")
    assert after.resized is False


async def test_any_order_of_events_comes_to_the_same_end(service: Service) -> None:
    shuffle = random.Random(7).shuffle
    events = [(f"{number:04X}", f"e{number}") for number in range(8)] * 3
    ends = set()
    for _ in range(4):
        row = await new_row(service)
        shuffle(events)
        for sequencer, etag in events:
            await tell(service, record(row.key, eTag=etag, sequencer=sequencer))
        after = await service.row(row.id)
        ends.add((after.state, after.etag, after.sequencer))
    assert ends == {("uploaded", "e7", "0007")}


async def test_any_order_by_any_way_comes_to_the_same_end(service: Service) -> None:
    # S3 may tell of one upload by SQS, SNS and EventBridge, with one sequencer
    shuffle = random.Random(7).shuffle
    ways = [dialect for dialect in ORDERED if dialect.name in ("aws", "sns", "eventbridge")]
    events = [(way, f"{number:04X}") for number in range(6) for way in ways * 2]
    ends = set()
    for _ in range(3):
        row = await new_row(service)
        shuffle(events)
        for way, sequencer in events:
            told = way.tell(BUCKET, row.key, etag=f"of-{sequencer}", sequencer=sequencer)
            answer = await send(service, json.dumps(way.message(told)).encode())
            assert answer.status == 200
        after = await service.row(row.id)
        ends.add((after.state, after.etag, after.sequencer))
    assert ends == {("uploaded", "of-0005", "0005")}


async def test_another_version_of_the_same_content_is_a_new_upload(service: Service) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="e1", versionId="v1"))
    assert await tell(service, record(row.key, eTag="e1", versionId="v2")) == RECORDED
    assert (await service.row(row.id)).version_id == "v2"


async def test_an_upload_while_one_is_processed_waits_for_its_turn(service: Service) -> None:
    row = await new_row(service)
    await tell(service, record(row.key, eTag="e1", sequencer="01"))
    await service.execute(
        "UPDATE attachments SET state = 'processing', claimed_revision = revision, attempt = 1"
        " WHERE id = $1",
        row.id,
    )
    lease = (await service.row(row.id)).due_at
    newer = record(row.key, eTag="e2", sequencer="02")
    assert await tell(service, newer) == RECORDED
    assert await tell(service, newer) == NO_EFFECT
    after = await service.row(row.id)
    assert (after.state, after.revision, after.claimed_revision) == ("processing", 2, 1)
    assert after.due_at == lease


@pytest.mark.parametrize("state", ["expired", "failed", "rejected"])
async def test_a_new_object_brings_back_what_had_ended(service: Service, state: str) -> None:
    row = await new_row(service)
    await service.execute("UPDATE attachments SET state = $2 WHERE id = $1", row.id, state)
    assert await tell(service, record(row.key, eTag="e1", sequencer="01")) == RECORDED
    assert (await service.row(row.id)).state == "uploaded"


async def test_an_event_of_a_deleted_attachment_has_no_effect(service: Service) -> None:
    row = await new_row(service)
    await service.client.request("DELETE", f"/api/v2/attachments/{row.id}")
    before = await service.row(row.id)
    assert await tell(service, record(row.key, eTag="e1")) == NO_EFFECT
    assert await service.row(row.id) == before


# -- many records in one message ----------------------------------------------------------------


async def test_good_records_count_among_others(service: Service) -> None:
    row = await new_row(service)
    meta = await tell(
        service,
        record("elsewhere/a.png"),
        {"eventName": "ObjectCreated:Put"},
        record(row.key, eTag="e1"),
        record(row.key, bucket="other"),
    )
    assert meta == {"recorded": 1, "no_effect": 0, "ignored": 2, "unreadable": 1}
    assert (await service.row(row.id)).state == "uploaded"


# -- removals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("state", ["pending", "ready", "failed"])
async def test_a_removal_makes_the_store_be_asked(
    service: Service, state: str, dialect: Dialect
) -> None:
    row = await new_row(service)
    await service.execute(
        "UPDATE attachments SET state = $2, due_at = now() + interval '1 hour' WHERE id = $1",
        row.id,
        state,
    )
    before = await service.row(row.id)
    told = dialect.tell(BUCKET, row.key, removed=True, etag="e1", sequencer="0B")
    answer = await send(service, json.dumps(dialect.message(told)).encode())
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)
    after = await service.row(row.id)
    assert after.due_at is not None
    assert after.due_at < datetime.now(UTC) + timedelta(minutes=1)
    # nothing but the time of the next look has changed
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
    # a removal that is not: the object is there
    await tell(service, record(row.key, name=REMOVED))
    due = await service.row(attachment_id)
    assert due.state == "ready"

    async def asked() -> bool:
        found = await service.row(attachment_id)
        return found.due_at is not None and found.due_at > datetime.now(UTC) + timedelta(minutes=5)

    await until(asked)
    assert (await service.row(attachment_id)).state == "ready"

    # SeaweedFS tells of this one by itself
    with mock.patch.dict("os.environ", service.environment):
        async with open_storage(service.settings) as storage:
            await storage.delete(row.key)

    async def missing() -> bool:
        return (await service.row(attachment_id)).reason == "missing"

    await until(missing)


# -- who may send -------------------------------------------------------------------------------

FIRST, SECOND = "first-events-token", "second words-of-a-token"


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        pytest.param({"Authorization": f"Bearer {FIRST}"}, EVENTS, id="bearer"),
        pytest.param({"Authorization": f"bearer {FIRST}"}, EVENTS, id="bearer-in-lower-case"),
        pytest.param({"Authorization": f"Bearer {SECOND}"}, EVENTS, id="second-live-token"),
        pytest.param({"Authorization": SECOND}, EVENTS, id="verbatim-two-words"),
        pytest.param({"Authorization": FIRST}, EVENTS, id="verbatim"),
        pytest.param({"Authorization": basic("any", FIRST)}, EVENTS, id="basic"),
        pytest.param({"Authorization": basic("", SECOND)}, EVENTS, id="basic-without-user"),
        pytest.param({"X-Api-Key": FIRST}, EVENTS, id="api-key"),
        pytest.param({"X-Api-Key": SECOND}, EVENTS, id="api-key-second"),
        pytest.param({}, f"{EVENTS}/{FIRST}", id="in-the-path"),
        pytest.param({}, f"{EVENTS}/{SECOND.replace(' ', '%20')}", id="in-the-path-second"),
    ],
)
async def test_a_live_token_opens_however_it_is_sent(
    start_service: StartService, headers: Mapping[str, str], path: str
) -> None:
    service = await start_service(events_tokens=f"{FIRST},{SECOND}")
    row = await new_row(service)
    answer = await send(service, message(record(row.key)), headers, path)
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_a_source_that_can_send_no_header_has_the_token_in_its_address(
    service: Service, dialect: Dialect
) -> None:
    row = await new_row(service)
    body = json.dumps(dialect.message(dialect.tell(BUCKET, row.key, etag="e1"))).encode()
    answer = await send(service, body, {}, f"{EVENTS}/{EVENTS_TOKEN}")
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)


# -- parts that are away ------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_without_the_database_the_source_is_told_to_come_again(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c")
    answer = await send(
        service, message(record("attachments/files/000/000/001/original/a.png", eTag="e1"))
    )
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.document["errors"][0]["title"] == "Service Unavailable"


async def test_without_the_database_what_needs_no_row_is_answered(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c")
    assert (await send(service, b'{"Event":"s3:TestEvent","Bucket":"b"}')).status == 200


async def test_without_the_broker_events_are_recorded_and_answered(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(broker_url=f"redis://127.0.0.1:{closed_port}/0")
    rows = [await new_row(service) for _ in range(5)]
    for row in rows:
        assert await tell(service, record(row.key, eTag="e1")) == RECORDED
        assert (await service.row(row.id)).state == "uploaded"


async def test_a_token_in_the_path_is_not_logged(
    start_service: StartService, closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c")
    body = message(record("attachments/files/000/000/001/original/a.png", eTag="e1"))
    async with service.client.session.post(
        f"{service.base_url}/events/s3/{EVENTS_TOKEN}", data=body
    ) as answer:
        assert answer.status == 503
    captured = capsys.readouterr()
    written = captured.out + captured.err
    assert "/events/s3/{token}" in written
    assert EVENTS_TOKEN not in written
