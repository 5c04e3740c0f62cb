"""The publisher while the broker is dead, restarted or unreachable, and when it closes."""

import asyncio
from pathlib import Path

import pytest
import redis.asyncio
from prometheus_client import REGISTRY

from deploy.embedded.valkey import EmbeddedValkey
from shared.broker import queue_name
from shared.metrics import BROKER_UP
from shared.outages import Outage
from shared.publisher import MAX_BATCH, Publisher
from tests.support.publishing import Broker, arguments, frozen, publishing, queued, wake_up
from tests.support.service import until


async def test_the_broker_is_measured_at_once_although_nothing_is_published(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.publisher.MEASURE_EVERY_S", 3600.0)
    BROKER_UP.set(0)
    with publishing(valkey.url):

        async def is_up() -> bool:
            return REGISTRY.get_sample_value("attachments_broker_up") == 1

        await until(is_up)


async def test_a_broker_that_dies_costs_wake_ups_and_is_used_again_when_it_is_back(
    valkey: EmbeddedValkey,
    broker: Broker,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Use a new `Outage`. The usual one may have recorded outages of earlier tests in this process.
    # It would then wait longer before it logs "broker is back".
    outage = Outage("broker is unavailable", "broker is back")
    monkeypatch.setattr("shared.publisher.BROKER", outage)
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    valkey.kill()
    for number in range(3):
        publisher.publish(wake_up(number))

        async def given_up(number: int = number) -> bool:
            return publisher.dropped == number + 1

        await until(given_up)
    await valkey.start()
    await broker.connection_pool.disconnect()
    await broker.delete(queue_name(1))

    async def published() -> bool:
        publisher.publish(wake_up(4))
        return bool(await broker.llen(queue_name(1)))

    await until(published)
    printed = ""

    async def back() -> bool:
        nonlocal printed
        publisher.publish(wake_up(4))
        printed += "".join(capsys.readouterr())
        return "broker is back" in printed

    await until(back)
    publisher.close()
    printed += "".join(capsys.readouterr())
    assert printed.count("broker is unavailable") == 1
    assert f"it cannot be reached at 127.0.0.1:{valkey.port}" in printed
    assert printed.count("broker is back") == 1
    assert "Traceback" not in printed


async def test_a_broker_that_was_restarted_meanwhile_costs_nothing(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    valkey.kill()
    await valkey.start()
    await broker.connection_pool.disconnect()
    await broker.delete(queue_name(1))
    publisher.publish(wake_up(2))
    assert [arguments(each) for each in await queued(broker, queue_name(1), 1)] == [[2, 1]]
    assert publisher.dropped == 0


async def test_a_broker_that_is_away_from_the_beginning_is_used_when_it_comes(
    tmp_path: Path,
) -> None:
    valkey = EmbeddedValkey(directory=tmp_path / "late")
    with publishing(valkey.url) as publisher:
        publisher.publish(wake_up(1))

        async def given_up() -> bool:
            return publisher.dropped == 1

        await until(given_up)
        await valkey.start()
        try:
            async with redis.asyncio.from_url(valkey.url) as broker:
                publisher.publish(wake_up(2))
                [message] = await queued(broker, queue_name(1), 1)
                assert arguments(message) == [2, 1]
        finally:
            await valkey.stop()


async def test_closing_publishes_waiting_messages(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    with frozen(valkey):
        for number in range(3 * MAX_BATCH):
            publisher.publish(wake_up(number))
    await asyncio.to_thread(publisher.close, 10)
    assert await broker.llen(queue_name(1)) == 3 * MAX_BATCH


async def test_closing_waits_for_no_broker_that_does_not_answer(
    valkey: EmbeddedValkey, broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(wake_up(1))
    await queued(broker, queue_name(1), 1)
    with frozen(valkey):
        publisher.publish(wake_up(2))
        async with asyncio.timeout(4):  # the publisher waits at most 2 s
            await asyncio.to_thread(publisher.close)
