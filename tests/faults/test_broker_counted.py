"""Tests of an API's metrics about its broker: wake-ups published and dropped, queues, outages."""

import pytest

from deploy.embedded.valkey import EmbeddedValkey
from shared.broker import queue_name
from tests.support.faults import PHOTO
from tests.support.scraping import Shown, read
from tests.support.service import Service, until
from tests.support.starting import StartService

pytestmark = pytest.mark.fault


async def grows(service: Service, name: str, before: Shown) -> Shown:
    """Wait until a counter has grown. The API runs in the process of the test."""

    async def has_grown() -> Shown | None:
        found = read(service.metrics())
        return found if found.sum(name) > before.sum(name) else None

    found: Shown = await until(has_grown, within_s=30)
    return found


async def test_wake_ups_are_counted_and_those_without_a_broker_as_dropped(
    start_service: StartService, valkey: EmbeddedValkey
) -> None:
    service = await start_service(broker_url=valkey.url)
    before = read(service.metrics())
    await service.client.upload(PHOTO, "img.jpg")
    found = await grows(service, "attachments_wake_ups_published_total", before)
    assert found.sum("attachments_broker_up") == 1
    assert found.sum("attachments_wake_ups_dropped_total") == before.sum(
        "attachments_wake_ups_dropped_total"
    )
    valkey.kill()
    await service.client.upload(PHOTO, "img.jpg")
    found = await grows(service, "attachments_wake_ups_dropped_total", before)
    assert found.sum("attachments_broker_up") == 0


async def test_the_length_of_each_queue_is_shown(
    start_service: StartService, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.publisher.MEASURE_EVERY_S", 0.1)
    service = await start_service(broker_url=valkey.url)
    for _ in range(3):  # No worker runs, so the wake-ups stay in the queue.
        await service.client.upload(PHOTO, "img.jpg")
    queue = queue_name(service.client.organization_id)

    async def are_shown() -> bool:
        found = read(service.metrics())
        return found.sum("attachments_broker_queue_messages", queue=queue) == 3

    await until(are_shown, within_s=30)
