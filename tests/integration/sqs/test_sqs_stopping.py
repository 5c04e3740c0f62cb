"""A consumer that stops makes its messages visible to other consumers again."""

import signal

import pytest

from tests.support.moto_server import Moto
from tests.support.service import Service, until
from tests.support.sqs import (
    NO_LONG_POLLS,
    StartConsumer,
    created,
    launched,
    locked,
    message,
    taken_up,
    until_in_hand,
)
from tests.support.starting import StartService


class TestStopping:
    """Stops and crashes of a consumer: no message is lost, and a stop is quick."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    async def test_an_idle_consumer_stops_at_once(
        self, service: Service, start_consumer: StartConsumer, number: int
    ) -> None:
        consumer = await start_consumer(service)
        assert await consumer.stop(number, within_s=5) == 0
        assert "consumer has stopped" in consumer.log()

    async def test_under_load_all_takes_effect_through_a_stop(
        self, moto: Moto, start_service: StartService, start_consumer: StartConsumer
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        ids = await created(service, 300)
        await inbox.send(*[await message(service, each) for each in ids])
        consumer = await start_consumer(service)

        async def begun() -> bool:
            return sum(await inbox.counts()) <= len(ids) - 50

        await until(begun, within_s=30, every_s=0.01)
        assert await consumer.stop(within_s=10) == 0
        assert sum(await inbox.counts()) > 0
        await start_consumer(service)
        await taken_up(service, *ids, within_s=60)
        await until(inbox.is_empty, within_s=60)
        assert {(await service.row(each)).revision for each in ids} == {1}

    async def test_held_messages_that_cannot_be_stored_are_released(
        self, moto: Moto, start_service: StartService
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            with launched(service, program=NO_LONG_POLLS) as consumer:
                await until_in_hand(inbox)
                assert await consumer.stop(within_s=10) == 0
            assert await inbox.counts() == (1, 0)
        assert (await service.row(one)).state == "pending"

    async def test_killed_before_the_commit_its_message_comes_again_and_has_one_effect(
        self, moto: Moto, start_service: StartService, start_consumer: StartConsumer
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        consumer = await start_consumer(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            await until_in_hand(inbox)
            consumer.kill()
            assert (await service.row(one)).state == "pending"
        await start_consumer(service)
        await taken_up(service, one, within_s=90)
        await until(inbox.is_empty)
        assert (await service.row(one)).revision == 1
