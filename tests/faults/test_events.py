"""Faults of events: lost, duplicated or reordered; and policies that expire."""

import asyncio
import hashlib
import json
import random

import pytest

from shared.attachments import Attachment
from shared.storage import Storage
from tests.data import images
from tests.support.faults import PHOTO, SOON, is_whole, make_due, reaches
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import BUCKET
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault


def aws_event(row: Attachment, etag: str, sequencer: str) -> bytes:
    """Make an event message as S3 sends it."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": "us-east-1",
                    "eventTime": "2026-01-01T00:00:00.000Z",
                    "eventName": "ObjectCreated:Post",
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "bucket": {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"},
                        "object": {"key": row.key, "size": 1, "eTag": etag, "sequencer": sequencer},
                    },
                }
            ]
        }
    ).encode()


async def test_f15_an_event_that_comes_ten_times_has_one_effect(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service)
    relay = service.stack.relay
    relay.seen.clear()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    before = await reaches(service, attachment_id, "ready")
    bodies = [json.dumps(item).encode() for item in relay.seen] * 10
    random.Random(1).shuffle(bodies)
    assert len(bodies) >= 10
    assert set(await asyncio.gather(*(relay.post(body) for body in bodies))) <= {200, 202, 204}
    assert await service.row(attachment_id) == before


async def test_f15_of_shuffled_events_the_newest_counts(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    relay, created = service.stack.relay, await service.client.create("img.jpg")
    target, relay.target = relay.target, None
    row = await service.row(created["data"]["id"])
    bodies, etags = [], []
    for number in range(4):
        body = images.encode(images.noise(100 + number, 80), "JPEG")
        await service.client.post_file(created, body)
        etags.append(hashlib.md5(body, usedforsecurity=False).hexdigest())
        bodies.append(body)
    events = [aws_event(row, etag, f"{number:016X}") for number, etag in enumerate(etags, 1)] * 10
    random.Random(2).shuffle(events)
    await start_worker(service, **SOON)
    relay.target = target
    await asyncio.gather(*(relay.post(event) for event in events))

    async def settled() -> bool:
        found = await service.row(row.id)
        return found.state == "ready" and found.sequencer == f"{4:016X}"

    await until(settled)
    await is_whole(service, storage, str(row.id), bodies[-1])
    before = await service.row(row.id)
    await asyncio.gather(*(relay.post(event) for event in events))
    assert await service.row(row.id) == before


async def test_f14_an_upload_whose_event_is_lost_is_found_by_the_sweep(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(pending_check="0.5")
    service.stack.relay.target = None
    await start_worker(service, pending_check="0.5", **SOON)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)
    assert (await service.row(attachment_id)).revision == 1


async def test_a_policy_that_nobody_used_expires(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        int(attachment_id),
    )
    await reaches(service, attachment_id, "expired")
    # The upload of an expired attachment may still end, if it began before the policy expired. So
    # the worker looks once more for the object.
    service.stack.relay.target = None
    row = await service.row(attachment_id)
    assert row.due_at is not None
    await storage.write(row.key, PHOTO, content_type="image/jpeg")
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_an_expired_attachment_is_looked_at_once_more_and_then_no_longer(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        int(attachment_id),
    )
    await reaches(service, attachment_id, "expired")
    await make_due(service, attachment_id)

    async def at_rest() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(at_rest)
    assert (await service.row(attachment_id)).state == "expired"


async def test_an_event_of_a_late_upload_is_enough(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, **SOON)
    created = await service.client.create("img.jpg")
    row = await service.row(created["data"]["id"])
    await service.execute(
        "UPDATE attachments SET state = 'expired', due_at = NULL,"
        " policy_expires_at = now() - interval '1 day' WHERE id = $1",
        row.id,
    )
    await storage.write(row.key, PHOTO, content_type="image/jpeg")
    await reaches(service, str(row.id), "ready")
    await is_whole(service, storage, str(row.id), PHOTO)


async def test_f14_an_upload_made_while_the_api_is_down_is_found_by_the_sweep(
    start_service: StartService, start_worker: StartWorker, storage: Storage, launch: Launch
) -> None:
    service = await start_service(pending_check="0.5")
    api = await launch(ApiProcess(service.environment))
    await start_worker(service, **SOON)
    service.client.base_url = service.stack.relay.target = api.url
    created = await service.client.create("img.jpg")
    api.kill()
    before = len(service.stack.relay.seen)
    assert (await service.client.post_file(created, PHOTO))[0] == 201

    async def events_failed() -> bool:
        return len(service.stack.relay.seen) > before

    await until(events_failed)
    row = await reaches(service, created["data"]["id"], "ready")
    assert row.revision == 1
    await is_whole(service, storage, row.id, PHOTO)


@pytest.mark.soak
async def test_f14_a_lost_event_costs_no_more_than_two_minutes(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    """The limit of two minutes is tested with the default settings.

    The API receives no events for five minutes.
    """
    service.stack.relay.target = None
    await start_worker(service)
    ids = []
    for _ in range(10):
        ids.append(await service.client.upload(PHOTO, "img.jpg"))
        uploaded = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < uploaded + 30:
            await asyncio.sleep(1)
            for attachment_id in ids:
                row = await service.row(attachment_id)
                age = await service.database.fetchval(
                    "SELECT now() - $1::timestamptz", row.created_at
                )
                assert row.state == "ready" or age.total_seconds() < 120
    for attachment_id in ids:
        await reaches(service, attachment_id, "ready", within_s=120)
        await is_whole(service, storage, attachment_id, PHOTO)
