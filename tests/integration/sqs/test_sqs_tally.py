"""The counts of received messages in a consumer's log and metrics."""

import asyncio
import json
from collections import Counter
from typing import Any

from tests.support.consumer import ConsumerProcess
from tests.support.databases import empty_broker
from tests.support.metric_values import OFTEN, ONE_LETTER, Table, Within, reached, shows_exactly
from tests.support.moto_server import Inbox
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.sqs import (
    StartConsumer,
    created,
    key_of,
    launched,
    locked,
    message,
    record,
    with_changed,
)

FREQUENT_TALLIES = with_changed("LOGGED_EVERY_S = 0.2")


def tallies(consumer: ConsumerProcess) -> list[Any]:
    """Return the counts in each log line `events received` of a consumer."""
    lines = [line for line in consumer.log().splitlines() if '"events received"' in line]
    return [json.loads(line)["counts"] for line in lines]


def total(consumer: ConsumerProcess) -> dict[str, Counter[str]]:
    """Return the sums of the counts that a consumer has logged."""
    added: dict[str, Counter[str]] = {}
    for tally in tallies(consumer):
        for dialect, counts in tally.items():
            added[dialect] = added.get(dialect, Counter()) + Counter(counts)
    return added


class TestTally:
    """The counts in the log: they include all messages, even if no metrics are scraped."""

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
                await asyncio.sleep(1)  # several intervals pass without a message
            assert await consumer.stop() == 0
            assert tallies(consumer) == [{"aws": {"ignored": 1}}, {"aws": {"ignored": 2}}]


OFTEN_MEASURED = ("-c", f"{OFTEN}{ONE_LETTER}{with_changed('WAIT_S = 0')[1]}")

COUNTED: Table = {
    "attachments_backlog_oldest_seconds": Within(0.001, 600),
    "attachments_backlog_uploads": 2,
    "attachments_broker_queue_messages": 2,
    "attachments_broker_up": 1,
    'attachments_database_connections{state="in_use"}': 0,
    'attachments_database_connections{state="free"}': Within(1, 10),
    "attachments_database_errors_total": Within(1, 10),
    "attachments_database_max_connections": 10,
    "attachments_database_wait_seconds_count": Within(1),
    "attachments_dead_letters": 1,
    "attachments_dead_letters_not_kept_total": 1,
    "attachments_due_oldest_seconds": Within(100, 700),
    "attachments_due_rows": 1,
    'attachments_events_total{dialect="aws",effect="recorded"}': 2,
    'attachments_events_total{dialect="aws",effect="ignored"}': 1,
    'attachments_events_total{dialect="unknown",effect="unreadable"}': 2,
    "attachments_events_total": 5,
    "attachments_log_lines_dropped_total": 0,
    "attachments_trace_spans_total": 0,
    "attachments_wake_ups_dropped_total": 0,
    "attachments_wake_ups_published_total": 2,
}
"""The expected metrics of a consumer after three usable and two unreadable messages."""


async def test_each_metric_of_a_consumer_has_its_value(inbox: Inbox, service: Service) -> None:
    await empty_broker(service.stack)
    first, second, third, due = await created(service, 4)
    await service.execute(
        "UPDATE attachments SET due_at = now() - interval '100 s' WHERE id = $1", int(due)
    )
    ignored = json.dumps({"Records": [record("another", "a")]})
    async with running_proxy(service.stack.valkey.url) as proxy:
        with launched(
            service,
            program=OFTEN_MEASURED,
            ATTACHMENTS_BROKER_URL=proxy.url,
            ATTACHMENTS_PUBLISH_GRACE="300",
        ) as consumer:
            await consumer.logs("consumer is ready")
            await inbox.send(await message(service, first), ignored, "no JSON", "another")
            await until(inbox.is_empty, within_s=30)
            async with locked(service, second):
                await inbox.send(await message(service, second))
                await reached(consumer, {'attachments_database_connections{state="in_use"}': 1})
                await reached(consumer, {"attachments_database_errors_total": Within(1)})
            shows_exactly(await reached(consumer, COUNTED), "C", COUNTED)
            proxy.cut()
            await inbox.send(await message(service, third))
            await reached(
                consumer, {"attachments_broker_up": 0, "attachments_wake_ups_dropped_total": 1}
            )
