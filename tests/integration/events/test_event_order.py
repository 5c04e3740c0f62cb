"""Several events of one attachment: duplicates, late events, any order."""

import asyncio
import json
import random

import pytest

from shared.attachments import Attachment
from shared.states import State
from tests.support.dialects import ORDERED
from tests.support.events import NO_EFFECT, RECORDED, message, new_row, record, send
from tests.support.service import Service
from tests.support.stack import BUCKET
from tests.support.valid_events import post_records


async def make_ready(service: Service, row: Attachment) -> Attachment:
    """Make the row `ready`, as a worker would, and return it."""
    await service.execute(
        "UPDATE attachments SET state = 'ready', due_at = NULL, claimed_revision = revision,"
        " resized = true, thumbnail_name = file_name WHERE id = $1",
        row.id,
    )
    return await service.row(row.id)


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
    assert await post_records(service, record(row.key, **item)) == RECORDED
    once = await service.row(row.id)
    for _ in range(9):
        assert await post_records(service, record(row.key, **item)) == NO_EFFECT
    assert await service.row(row.id) == once


async def test_duplicates_that_come_at_one_time_have_one_effect(service: Service) -> None:
    row = await new_row(service)
    body = message(record(row.key, eTag="e1", sequencer="0A"))
    answers = await asyncio.gather(*(send(service, body) for _ in range(20)))
    assert sum(answer.document["meta"]["recorded"] for answer in answers) == 1
    assert (await service.row(row.id)).revision == 1


async def test_a_duplicate_of_a_processed_event_has_no_effect(service: Service) -> None:
    row = await new_row(service)
    event = record(row.key, eTag="e1", sequencer="0A")
    await post_records(service, event)
    ready = await make_ready(service, row)
    assert await post_records(service, event) == NO_EFFECT
    # The same upload may be reported by another channel, without a sequencer. The known etag shows
    # that the event is a duplicate.
    assert await post_records(service, record(row.key, eTag="e1")) == NO_EFFECT
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
    await post_records(service, record(row.key, eTag="new", sequencer=known))
    before = await service.row(row.id)
    assert await post_records(service, record(row.key, eTag="old", sequencer=late)) == NO_EFFECT
    assert await service.row(row.id) == before


@pytest.mark.parametrize(("known", "newer"), [("0A", "0B"), ("1", "11"), ("1FFFFF", "2")])
async def test_a_newer_event_counts_as_a_new_upload(
    service: Service, known: str, newer: str
) -> None:
    row = await new_row(service)
    await post_records(service, record(row.key, eTag="old", sequencer=known))
    await make_ready(service, row)
    assert await post_records(service, record(row.key, eTag="new", sequencer=newer)) == RECORDED
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
            await post_records(service, record(row.key, eTag=etag, sequencer=sequencer))
        after = await service.row(row.id)
        ends.add((after.state, after.etag, after.sequencer))
    assert ends == {("uploaded", "e7", "0007")}


async def test_any_order_by_any_way_comes_to_the_same_end(service: Service) -> None:
    # S3 may report one upload through SQS, SNS and EventBridge; the sequencer is then the same.
    shuffle = random.Random(7).shuffle
    ways = [dialect for dialect in ORDERED if dialect.name in ("aws", "sns", "eventbridge")]
    events = [(way, f"{number:04X}") for number in range(6) for way in ways * 2]
    ends = set()
    for _ in range(3):
        row = await new_row(service)
        shuffle(events)
        for way, sequencer in events:
            sent = way.make_event(BUCKET, row.key, etag=f"of-{sequencer}", sequencer=sequencer)
            answer = await send(service, json.dumps(way.message(sent)).encode())
            assert answer.status == 200
        after = await service.row(row.id)
        ends.add((after.state, after.etag, after.sequencer))
    assert ends == {("uploaded", "of-0005", "0005")}


async def test_another_version_of_the_same_content_is_a_new_upload(service: Service) -> None:
    row = await new_row(service)
    await post_records(service, record(row.key, eTag="e1", versionId="v1"))
    assert await post_records(service, record(row.key, eTag="e1", versionId="v2")) == RECORDED
    assert (await service.row(row.id)).version_id == "v2"


async def test_an_upload_while_one_is_processed_waits_for_its_turn(service: Service) -> None:
    row = await new_row(service)
    await post_records(service, record(row.key, eTag="e1", sequencer="01"))
    await service.execute(
        "UPDATE attachments SET state = 'processing', claimed_revision = revision, attempt = 1"
        " WHERE id = $1",
        row.id,
    )
    lease = (await service.row(row.id)).due_at
    newer = record(row.key, eTag="e2", sequencer="02")
    assert await post_records(service, newer) == RECORDED
    assert await post_records(service, newer) == NO_EFFECT
    after = await service.row(row.id)
    assert (after.state, after.revision, after.claimed_revision) == ("processing", 2, 1)
    assert after.due_at == lease


@pytest.mark.parametrize("state", ["expired", "failed", "rejected"])
async def test_a_new_object_restarts_an_ended_attachment(service: Service, state: State) -> None:
    row = await new_row(service)
    await service.execute("UPDATE attachments SET state = $2 WHERE id = $1", row.id, state)
    assert await post_records(service, record(row.key, eTag="e1", sequencer="01")) == RECORDED
    assert (await service.row(row.id)).state == "uploaded"


async def test_an_event_of_a_deleted_attachment_has_no_effect(service: Service) -> None:
    row = await new_row(service)
    await service.client.request("DELETE", f"/api/v2/attachments/{row.id}")
    before = await service.row(row.id)
    assert await post_records(service, record(row.key, eTag="e1")) == NO_EFFECT
    assert await service.row(row.id) == before
