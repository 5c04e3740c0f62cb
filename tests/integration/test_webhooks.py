"""Webhooks, from the change of an attachment to a receiver that verifies the signature."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web

from tests.data.images import photo
from tests.support.log_lines import named
from tests.support.receiver import PATH, SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Start a receiver of webhooks on loopback."""
    async with running_receiver() as running:
        yield running


@pytest_asyncio.fixture
async def service(start_service: StartService) -> Service:
    """Start an API whose settings allow webhooks to the tests' receivers."""
    return await start_service(**SETTINGS)


async def refuse(_request: web.Request) -> web.StreamResponse:
    """Answer 500, as a failing receiver does."""
    return web.Response(status=500)


async def test_an_upload_and_its_deletion_are_delivered_signed(
    service: Service, start_worker: StartWorker, receiver: Receiver
) -> None:
    await make_webhook(service.client, receiver)
    worker = await start_worker(service)
    attachment_id = await service.client.upload(
        photo(), "photo.jpg", attachable_type="task", attachable_id=7
    )
    ready = await receiver.wait_for(attachment_id, "attachment.ready")
    shown = await service.client.request(
        "GET", f"/api/v2/attachments/{attachment_id}?include=task,creator"
    )
    assert ready.document["data"] == shown.data
    assert ready.document["data"]["attributes"]["thumb"].startswith("https://attachments.example/")
    await service.client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
    deleted = await receiver.wait_for(attachment_id, "attachment.deleted")
    assert deleted.document["data"]["attributes"]["deleted_at"] == deleted.document["timestamp"]
    assert receiver.of(attachment_id) == [
        "attachment.uploaded",
        "attachment.ready",
        "attachment.deleted",
    ]
    assert len({each.message_id for each in receiver.received}) == 3
    assert "delivery not accepted" not in worker.log()


async def test_a_delivery_has_the_values_of_its_commit_and_no_other_organization_gets_it(
    service: Service, start_worker: StartWorker, receiver: Receiver
) -> None:
    webhook_id = await make_webhook(service.client, receiver, events=["attachment.ready"])
    other = await service.organization()
    async with running_receiver() as others:
        await make_webhook(other, others)
        created = await service.client.create("before.png")
        await service.client.post_file(created, photo())
        attachment_id = created["data"]["id"]
        await start_worker(service)
        ready = await receiver.wait_for(attachment_id, "attachment.ready")
        await service.client.request(
            "PATCH",
            f"/api/v2/attachments/{attachment_id}",
            {"data": {"type": "attachments", "attributes": {"name": "after.png"}}},
        )
        assert ready.document["data"]["attributes"]["name"] == "before.png"
        place = f"{PATH}/{webhook_id}/deliveries"
        (delivery,) = (await service.client.request("GET", place)).data
        await service.client.request("POST", f"{place}/{delivery['id']}/retry")
        await wait_for(receiver, 2)
        again = receiver.received[-1]
        assert again.message_id == ready.message_id
        assert again.document["data"]["attributes"]["name"] == "before.png"
        assert receiver.of(attachment_id) == ["attachment.ready", "attachment.ready"]
        assert others.received == []


async def wait_for(receiver: Receiver, count: int, *, within_s: float = 10) -> None:
    """Wait until a receiver has received `count` deliveries."""

    async def enough() -> bool:
        return len(receiver.received) >= count

    await until(enough, within_s=within_s)


async def test_a_failed_delivery_is_tried_again_after_five_seconds_with_the_same_id(
    service: Service, start_worker: StartWorker, receiver: Receiver
) -> None:
    webhook_id = await make_webhook(service.client, receiver)
    receiver.answer = refuse
    worker = await start_worker(service)
    answer = await service.client.request("POST", f"{PATH}/{webhook_id}/test")
    assert answer.status == 201
    await wait_for(receiver, 1)
    place = f"{PATH}/{webhook_id}/deliveries/{answer.data['id']}"

    async def failed() -> dict[str, object] | None:
        shown = (await service.client.request("GET", place)).data["attributes"]
        return shown if shown["last_fault"] else None

    shown = await until(failed)
    assert (shown["state"], shown["attempts"]) == ("pending", 1)
    assert (shown["last_status"], shown["last_fault"]) == (500, "status")
    await wait_for(receiver, 2, within_s=20)
    first, second = receiver.received[:2]
    assert second.arrived_at - first.arrived_at >= 5
    assert first.message_id == second.message_id == answer.data["attributes"]["message_id"]
    assert first.type == "webhook.test"
    attachment_id = int(await service.client.upload(photo(), "photo.jpg"))
    await receiver.wait_for(attachment_id, "attachment.ready")
    await worker.stop()
    lines = named(worker.log(), "delivery not accepted")
    assert {each["organization"] for each in lines} == {service.client.organization_id}
    # The line about the test event names no attachment.
    assert {each.get("attachment") for each in lines} == {None, attachment_id}


async def test_both_secrets_sign_after_a_rotation(
    service: Service, start_worker: StartWorker, receiver: Receiver
) -> None:
    webhook_id = await make_webhook(service.client, receiver)
    former = receiver.secret
    answer = await service.client.request("POST", f"{PATH}/{webhook_id}/secret")
    newer = answer.data["attributes"]["secret"]
    assert newer != former
    await start_worker(service)
    for number, secret in enumerate((former, newer), 1):
        # The receiver answers 500 if no signature was made with this secret.
        receiver.secret = secret
        await service.client.request("POST", f"{PATH}/{webhook_id}/test")
        await wait_for(receiver, number)
    signatures = receiver.received[0].headers["webhook-signature"].split(" ")
    assert len(signatures) == 2
    await service.execute("UPDATE webhooks SET previous_ends_at = now()")
    await service.client.request("POST", f"{PATH}/{webhook_id}/test")
    await wait_for(receiver, 3)
    assert len(receiver.received[2].headers["webhook-signature"].split(" ")) == 1


async def test_an_answer_410_deactivates_the_webhook_visibly(
    service: Service, start_worker: StartWorker, receiver: Receiver
) -> None:
    webhook_id = await make_webhook(service.client, receiver)

    async def gone(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=410)

    receiver.answer = gone
    worker = await start_worker(service)
    await service.client.request("POST", f"{PATH}/{webhook_id}/test")

    async def inactive() -> dict[str, object] | None:
        data = (await service.client.request("GET", f"{PATH}/{webhook_id}")).data
        return None if data["attributes"]["active"] else data

    shown = await until(inactive)
    assert shown["meta"]["deactivated"]["reason"] == "gone"

    async def logged() -> bool:
        return "webhook deactivated" in worker.log()

    await until(logged)  # the worker logs the line after the commit
    before = await service.database.fetchval("SELECT count(*) FROM webhook_deliveries")
    await service.client.upload(photo())
    assert await service.database.fetchval("SELECT count(*) FROM webhook_deliveries") == before
    answer = await service.client.request("POST", f"{PATH}/{webhook_id}/test")
    assert answer.status == 409
    changed = await service.client.request(
        "PATCH",
        f"{PATH}/{webhook_id}",
        {"data": {"type": "webhooks", "attributes": {"active": True}}},
    )
    assert changed.data["meta"]["deactivated"] is None
    receiver.answer = refuse
    failed = await service.client.request(
        "GET", f"{PATH}/{webhook_id}/deliveries?filter[state]=failed"
    )
    assert [each["attributes"]["last_fault"] for each in failed.data] == ["gone"]
    again = await service.client.request(
        "POST",
        f"{PATH}/{webhook_id}/deliveries/retry",
        {"data": {"type": "webhook_deliveries", "attributes": {"since": "2020-01-01"}}},
    )
    assert again.document["meta"] == {"retried": 1}
    await wait_for(receiver, 2)


async def reject(service: Service, _: "S3Client") -> str:
    """Create an attachment whose upload a worker rejects."""
    limits = {"meta": {"limits": {"content_types": ["image/*"]}}}
    document = {"data": {"type": "attachments", "attributes": {"name": "a.txt"}, **limits}}
    answer = await service.client.request("POST", "/api/v2/attachments", document)
    assert answer.status == 201, answer.body
    await service.client.post_file(answer.document, b"only text\n")
    return str(answer.data["id"])


async def fail(service: Service, bucket: "S3Client") -> str:
    """Create an attachment whose object is deleted before a worker reads it."""
    attachment_id = await service.client.upload(photo(), "gone.jpg")
    row = await service.row(attachment_id)
    await bucket.delete_object(Bucket=BUCKET, Key=row.key)
    return attachment_id


async def expire(service: Service, _: "S3Client") -> str:
    """Create an attachment whose policy has expired without an upload."""
    attachment_id = str((await service.client.create())["data"]["id"])
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '1 day',"
        " due_at = now() - interval '1 hour' WHERE id = $1",
        int(attachment_id),
    )
    return attachment_id


@pytest.mark.parametrize(
    ("make", "kind"),
    [(reject, "rejected"), (fail, "failed"), (expire, "expired")],
    ids=["rejected", "failed", "expired"],
)
async def test_the_other_final_states_are_delivered(
    service: Service,
    start_worker: StartWorker,
    receiver: Receiver,
    bucket: "S3Client",
    make: Callable[[Service, "S3Client"], Awaitable[str]],
    kind: str,
) -> None:
    await make_webhook(service.client, receiver, events=[f"attachment.{kind}"])
    attachment_id = await make(service, bucket)
    await start_worker(service, sweep_interval="0.5")
    found = await receiver.wait_for(attachment_id, f"attachment.{kind}")
    assert found.document["data"]["meta"]["state"] == kind
    assert receiver.of(attachment_id) == [f"attachment.{kind}"]
