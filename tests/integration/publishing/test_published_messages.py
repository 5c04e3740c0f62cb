"""Wake-ups at the broker: their form, their order, their number."""

import asyncio
import json
import re
from base64 import b64decode
from typing import Any

from deploy.embedded.valkey import EmbeddedValkey
from shared.broker import (
    ORGANIZATION,
    QUEUES,
    REQUEST_ID,
    TASK,
    TRACEPARENT,
    make_celery,
    queue_name,
)
from shared.lifecycle import WakeUp
from shared.publisher import MAX_BATCH, MAX_QUEUED, MAX_WAITING, Publisher
from tests.support.publishing import Broker, arguments, frozen, queued, wake_up
from tests.support.service import until

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def without_ids(text: Any) -> Any:
    """Decode the body of a message, and replace its ids and its sender with placeholders."""
    message = json.loads(text)
    body = message["body"].encode()
    assert text.count(body) == 1
    text = text.replace(body, b64decode(body))
    assert message["headers"]["id"] == message["headers"]["root_id"]
    for number in (
        message["headers"]["id"],
        message["properties"]["delivery_tag"],
        message["properties"]["reply_to"],
    ):
        assert UUID.fullmatch(number)
        text = text.replace(number.encode(), b"id")
    return text


async def test_a_message_is_the_one_that_celery_would_send(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    queue = queue_name(71)
    publisher.publish(WakeUp(attachment_id=2**40, organization_id=71, revision=3))
    await queued(broker, queue, 1)
    with make_celery(valkey.url) as app:
        headers = {ORGANIZATION: "71", REQUEST_ID: "", TRACEPARENT: ""}
        await asyncio.to_thread(app.send_task, TASK, args=(2**40, 3), queue=queue, headers=headers)
    celerys, ours = await broker.lrange(queue, 0, -1)
    assert without_ids(ours) == without_ids(celerys)
    assert ours != celerys


async def test_every_message_has_an_id_and_a_tag_of_its_own(
    broker: Broker, publisher: Publisher
) -> None:
    for _ in range(50):
        publisher.publish(wake_up(1))
    messages = await queued(broker, queue_name(1), 50)
    assert len({message["headers"]["id"] for message in messages}) == 50
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 50


async def test_wake_ups_go_to_the_queues_of_their_organizations_in_their_order(
    broker: Broker, publisher: Publisher
) -> None:
    organizations = range(2 * QUEUES)
    for number in range(5):
        for organization_id in organizations:
            publisher.publish(wake_up(number, organization_id=organization_id))
    for organization_id in range(QUEUES):
        queue = queue_name(organization_id)
        messages = await queued(broker, queue, 10)
        assert [arguments(message)[0] for message in messages] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert {message["properties"]["delivery_info"]["routing_key"] for message in messages} == {
            queue
        }


async def test_waiting_messages_are_published_in_few_round_trips(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    await broker.ping()
    with frozen(valkey):
        for number in range(5 * MAX_BATCH):
            publisher.publish(wake_up(number))
    assert len(await queued(broker, queue_name(1), 5 * MAX_BATCH)) == 5 * MAX_BATCH
    statistics = await broker.info("commandstats")
    # The first LPUSH holds only one wake-up if the second wake-up is published too late for it.
    assert statistics["cmdstat_lpush"]["calls"] <= 6
    assert publisher.dropped == 0


async def test_a_full_queue_takes_no_more_until_it_has_been_worked_off(
    broker: Broker, publisher: Publisher
) -> None:
    full, other = queue_name(1), queue_name(2)
    await broker.rpush(full, *[b"{}"] * (MAX_QUEUED - 1))
    for number in range(3):
        publisher.publish(wake_up(number, organization_id=1))
        publisher.publish(wake_up(number, organization_id=2))
    await queued(broker, other, 3)
    assert await broker.llen(full) == MAX_QUEUED

    async def left_out() -> bool:
        return publisher.dropped == 2

    await until(left_out)
    await broker.delete(full)

    async def published_again() -> bool:
        publisher.publish(wake_up(3, organization_id=1))
        return bool(await broker.llen(full))

    await until(published_again)


async def test_no_more_than_so_many_wait_for_a_broker_that_does_not_answer(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(0))
    await queued(broker, queue_name(1), 1)
    with frozen(valkey):
        for organization_id in range(2, 2 + 2 * MAX_WAITING):
            publisher.publish(wake_up(organization_id, organization_id=organization_id))
    least = 2 * MAX_WAITING - MAX_WAITING - MAX_BATCH
    assert least <= publisher.dropped <= MAX_WAITING

    async def all_published() -> bool:
        lengths = [await broker.llen(queue_name(number)) for number in range(QUEUES)]
        return sum(lengths) == 1 + 2 * MAX_WAITING - publisher.dropped

    await until(all_published, within_s=30)
