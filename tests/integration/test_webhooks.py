"""Webhooks from a change of an attachment to a receiver that verifies the signature."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.webhooks import registry
from shared.webhooks.kinds import EVENTS
from tests.data.images import photo
from tests.support.receiver import SETTINGS, Receiver, running_receiver
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with running_receiver() as running:
        yield running


async def make_webhook(service: Service, receiver: Receiver) -> int:
    """Make a webhook of the tests' organization that leads to a receiver."""
    vault = service.settings.vault
    assert vault is not None
    values = {
        "target_url": receiver.url,
        "events": list(EVENTS),
        "description": None,
        "active": True,
    }
    async with service.database.acquire() as connection:
        made = await registry.create(connection, service.client.organization_id, values, vault)
    receiver.secret = made.secret
    return made.webhook.id


async def test_an_upload_and_its_deletion_are_delivered_signed(
    start_service: StartService, start_worker: StartWorker, receiver: Receiver
) -> None:
    service = await start_service(**SETTINGS)
    await make_webhook(service, receiver)
    worker = await start_worker(service)
    attachment_id = await service.client.upload(photo(), "photo.jpg")
    ready = await receiver.wait_for(attachment_id, "attachment.ready")
    shown = await service.client.show(attachment_id)
    assert ready.document["data"]["meta"] == shown["meta"]
    assert ready.document["data"]["attributes"]["thumb"].startswith("https://attachments.example/")
    await service.client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
    await receiver.wait_for(attachment_id, "attachment.deleted")
    assert receiver.of(attachment_id) == [
        "attachment.uploaded",
        "attachment.ready",
        "attachment.deleted",
    ]
    assert "delivery not accepted" not in worker.log()
