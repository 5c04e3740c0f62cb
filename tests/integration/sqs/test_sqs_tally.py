"""Tests of the counts that a consumer logs about received messages."""

import asyncio
import json
from collections import Counter
from typing import Any

from tests.support.consumer import ConsumerProcess
from tests.support.moto_server import Inbox
from tests.support.service import Service, until
from tests.support.sqs import (
    StartConsumer,
    created,
    key_of,
    launched,
    message,
    record,
    with_changed,
)

FREQUENT_TALLIES = with_changed("LOGGED_EVERY_S = consumer.TICK_S = 0.2")


def tallies(consumer: ConsumerProcess) -> list[Any]:
    """Return the counts of each log line in which a consumer reports its counts."""
    lines = [line for line in consumer.log().splitlines() if '"events received"' in line]
    return [json.loads(line)["counts"] for line in lines]


def total(consumer: ConsumerProcess) -> dict[str, Counter[str]]:
    """Add up the counts that a consumer logged."""
    added: dict[str, Counter[str]] = {}
    for tally in tallies(consumer):
        for dialect, counts in tally.items():
            added[dialect] = added.get(dialect, Counter()) + Counter(counts)
    return added


class TestTally:
    """Tests of the counts in the log, which include all messages even if nobody scrapes metrics."""

    async def test_messages_are_counted_by_dialect_and_effect(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        new, busy, gone = await created(service, 3)
        await service.execute(
            "UPDATE attachments SET state = 'processing', etag = 'e0' WHERE id = $1", int(busy)
        )
        bucket = service.settings.s3_bucket
        minio = record(bucket, (await key_of(service, gone)).replace("/", "%2F"))
        minio |= {"eventSource": "minio:s3", "eventName": "s3:ObjectRemoved:Delete"}
        await inbox.send(
            await message(service, new),
            await message(service, new, etag="e0", sequencer="01"),
            await message(service, busy),
            json.dumps({"Records": [minio]}),
            json.dumps({"Records": [record("another", "a"), record(bucket, "a"), None]}),
            '{"Records":[]}',
            "no JSON",
        )
        consumer = await start_consumer(service, log_format="json")
        await until(inbox.is_empty)
        assert await consumer.stop() == 0
        assert total(consumer) == {
            "aws": {"recorded": 2, "no_effect": 1, "ignored": 2, "unreadable": 1},
            "minio": {"recorded": 1},
            "unknown": {"unreadable": 1},
        }

    async def test_progress_is_reported_during_the_run_if_something_came(
        self, inbox: Inbox, service: Service
    ) -> None:
        json_log = {"ATTACHMENTS_LOG_FORMAT": "json"}
        with launched(service, program=FREQUENT_TALLIES, **json_log) as consumer:
            for number in (1, 2):
                await inbox.send(json.dumps({"Records": [record("another", "a")] * number}))

                async def sent(count: int = number) -> bool:
                    return len(tallies(consumer)) == count

                await until(sent, within_s=30)
                await asyncio.sleep(1)  # In this time several intervals pass without a message.
            assert await consumer.stop() == 0
            assert tallies(consumer) == [{"aws": {"ignored": 1}}, {"aws": {"ignored": 2}}]
