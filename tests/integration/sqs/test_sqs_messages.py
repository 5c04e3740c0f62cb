"""SQS messages: how the events of S3 reach a queue, and which messages are deleted."""

import pytest
import redis.asyncio

from tests.data import images
from tests.support.moto_server import Inbox, Moto
from tests.support.service import Service, until
from tests.support.sqs import (
    StartConsumer,
    created,
    is_given_up,
    is_left_alone,
    message,
    refuse,
    taken_up,
)
from tests.support.stack import queue_key
from tests.support.starting import StartService, StartWorker


class TestWiring:
    """A whole upload, through each channel by which events of S3 reach a queue."""

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
            assert await inbox.counts() == (1, 0)  # S3 sends a test event
        elif way == "S3 to EventBridge":
            await moto.wire_eventbridge(bucket, inbox)
        else:
            await moto.wire_sns(bucket, inbox, raw=way.endswith("raw"))
        # With this `pending_check`, no sweep finds an upload without an event during the test.
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


class TestMessages:
    """Messages while SQS, the database and the broker are available."""

    async def test_a_recorded_message_is_deleted_and_wakes_a_worker(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        ids = await created(service, 25)
        await inbox.send(*[await message(service, each) for each in ids])
        await start_consumer(service)
        await taken_up(service, *ids)
        await until(inbox.is_empty)
        async with redis.asyncio.from_url(service.stack.valkey.url) as broker:
            queue = queue_key(service.client.organization_id)

            async def published() -> bool:
                return bool(await broker.llen(queue) >= len(ids))

            await until(published)
        assert await is_left_alone(inbox)

    async def test_many_deliveries_in_any_order_have_one_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        newest = await message(service, one, sequencer="0B", etag="e2")
        older = await message(service, one, sequencer="0A", etag="e1")
        await inbox.send(*[newest] * 6, *[older] * 6, *[newest] * 6)
        await start_consumer(service)
        await until(inbox.is_empty)
        row = await service.row(one)
        assert (row.state, row.etag, row.revision) == ("uploaded", "e2", 1)

    async def test_one_bad_message_among_ten_is_kept_and_the_good_ones_take_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        ids = await created(service, 9)
        good = [await message(service, each) for each in ids]
        bad = '{"Records": [ { "ü": "\\u20ac" }\n, \t '
        await inbox.send(*good[:4], bad, *good[4:])
        await start_consumer(service)
        await taken_up(service, *ids)
        await until(inbox.is_empty)
        (letter,) = await service.database.fetch("SELECT * FROM dead_letters")
        assert letter["body"] == bad.encode()
        assert (letter["source"], letter["count"]) == ("sqs", 1)

    @pytest.mark.parametrize(
        "body",
        [
            '{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T10:00:00Z",'
            '"Bucket":"b","RequestId":"r","HostId":"h"}',
            '{"Records":[]}',
            '{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:us-east-1:1:t",'
            '"Message":"You have chosen","Token":"t"}',
        ],
        ids=["S3's test event", "no records", "SNS's confirmation"],
    )
    async def test_a_message_without_an_object_is_deleted_and_not_kept(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer, body: str
    ) -> None:
        await inbox.send(body)
        await start_consumer(service)
        await until(inbox.is_empty)
        assert await service.database.fetchval("SELECT count(*) FROM dead_letters") == 0

    async def test_a_message_that_cannot_be_stored_is_left_to_the_redrive_policy(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        *good, bad = await created(service, 10)
        await refuse(service, bad)
        await inbox.send(*[await message(service, each) for each in [*good[:5], bad, *good[5:]]])
        await start_consumer(service)
        await taken_up(service, *good)
        await until(lambda: is_given_up(inbox), within_s=60)
        assert (await service.row(bad)).state == "pending"
