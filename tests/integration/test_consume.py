"""Events that come through SQS: wired as on AWS, and with every part failing in its turn."""

import json
import os
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

import pytest
import pytest_asyncio

from tests.conftest import StartService, StartWorker
from tests.consumer import ConsumerProcess
from tests.data import images
from tests.moto_server import CREDENTIALS, Moto, running_moto
from tests.service import Service, until


@pytest_asyncio.fixture(scope="module")
async def moto() -> AsyncIterator[Moto]:
    """AWS."""
    async with running_moto() as started:
        yield started


class StartConsumer(Protocol):
    """Starts a consumer; overrides are settings by lower-case name."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[ConsumerProcess]: ...


def consumer_of(service: Service, **overrides: str) -> ConsumerProcess:
    """Make a consumer with the settings of a service, not started yet."""
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    return ConsumerProcess(
        {"PATH": os.environ["PATH"], **service.environment, **CREDENTIALS, **changes}
    )


@pytest_asyncio.fixture
async def start_consumer() -> AsyncIterator[StartConsumer]:
    """Start consumers that end with the test."""
    started: list[ConsumerProcess] = []

    async def start(service: Service, **overrides: str) -> ConsumerProcess:
        consumer = consumer_of(service, **overrides)
        started.append(consumer)
        return await consumer.start()

    yield start
    for consumer in started:
        consumer.close()


async def key_of(service: Service, attachment_id: str) -> str:
    return (await service.row(attachment_id)).key


def record(bucket: str, key: str, *, sequencer: str = "0A", etag: str = "e1") -> dict[str, Any]:
    """Write a record as S3 does."""
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Post",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": 1, "eTag": etag, "sequencer": sequencer},
        },
    }


async def created(service: Service, count: int = 1) -> list[str]:
    """Create attachments."""
    documents = [await service.client.create(f"{number}.png") for number in range(count)]
    return [document["data"]["id"] for document in documents]


async def message(service: Service, *ids: str, **changes: str) -> str:
    """Write S3's message about the uploads of attachments."""
    bucket = service.settings.s3_bucket
    return json.dumps(
        {"Records": [record(bucket, await key_of(service, each), **changes) for each in ids]}
    )


async def taken_up(service: Service, *ids: str, within_s: float = 30) -> None:
    """Wait until the uploads of attachments are recorded."""

    async def recorded() -> bool:
        rows = [await service.row(each) for each in ids]
        return all(row.state == "uploaded" for row in rows)

    await until(recorded, within_s=within_s)


class TestWiring:
    """A whole upload, by each way that S3's events come into a queue."""

    @pytest.mark.parametrize(
        "way", ["S3 to SQS", "S3 to SNS to SQS", "S3 to SNS to SQS, raw", "S3 to EventBridge"]
    )
    async def test_an_upload_is_ready_by_its_event_alone(
        self,
        moto: Moto,
        start_service: StartService,
        start_worker: StartWorker,
        start_consumer: StartConsumer,
        way: str,
    ) -> None:
        bucket, inbox = await moto.make_bucket(), await moto.make_inbox()
        if way == "S3 to SQS":
            await moto.wire_sqs(bucket, inbox)
            assert await inbox.counts() == (1, 0)  # S3's test event
        elif way == "S3 to EventBridge":
            await moto.wire_eventbridge(bucket, inbox)
        else:
            await moto.wire_sns(bucket, inbox, raw=way.endswith("raw"))
        # The sweep asks the store for what no event has told, but not within this test.
        service = await start_service(**moto.settings(inbox, bucket), pending_check="3600")
        await start_worker(service)
        consumer = await start_consumer(service)
        attachment_id = await service.client.upload(images.photo(), "a b+ü%2F.png")
        resource = await service.client.settled(attachment_id, within_s=60)
        assert resource["meta"]["state"] == "ready"
        assert resource["attributes"]["resized"]
        await until(inbox.is_empty, within_s=30)
        assert await service.database.fetchval("SELECT count(*) FROM dead_letters") == 0
        assert await consumer.stop() == 0
