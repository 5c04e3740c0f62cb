"""A consumer that loses SQS, the database or the broker for a while."""

import asyncio
from pathlib import Path

import pytest

from deploy.embedded.ports import HOST, choose_port
from deploy.embedded.postgres import EmbeddedPostgres
from shared.schema import migrate
from tests.support.consumer import ConsumerProcess
from tests.support.moto_server import Inbox, Moto
from tests.support.proxy import running_proxy
from tests.support.service import Service, running_service, until
from tests.support.sqs import (
    NO_LONG_POLLS,
    StartConsumer,
    created,
    is_given_up,
    is_left_alone,
    launched,
    locked,
    message,
    refuse,
    taken_up,
    until_any_in_hand,
    until_in_hand,
)
from tests.support.stack import Stack
from tests.support.starting import StartService
from worker.queue.consumer import HOLD_S


def status_line(status: int) -> bytes:
    """Return an HTTP answer with this status, and with a body that the consumer cannot use."""
    return f"HTTP/1.1 {status} .\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode()


async def is_logged_in_pairs(consumer: ConsumerProcess, part: str) -> None:
    """Wait until the log has one line `… is back` for each line `… is unavailable`.

    There may be two pairs of lines, because the part may fail again on a slow machine.
    """

    def count(state: str) -> int:
        return consumer.log().count(f"{part} is {state}")

    await until(lambda: asyncio.sleep(0, 1 <= count("unavailable") == count("back")))
    assert count("unavailable") <= 2


class TestOutages:
    """During an outage, messages stay in the queue, and no message is received more than once."""

    async def test_a_message_that_takes_long_is_given_to_nobody_else(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        await start_consumer(service)
        async with locked(service, one):
            await inbox.send(await message(service, one))
            await until_in_hand(inbox)
            other = await start_consumer(service)
            # The wait is longer than the first visibility timeout, so the consumer must extend it.
            await asyncio.sleep(HOLD_S + 3)
            assert await inbox.counts() == (0, 1)
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await is_left_alone(inbox)
        assert "database is unavailable" not in other.log()

    @pytest.mark.parametrize("place", [0, 9])
    async def test_one_that_waits_for_a_lock_holds_up_none_that_came_with_it(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer, place: int
    ) -> None:
        ids = await created(service, 10)
        await inbox.send(*[await message(service, each) for each in ids])
        one = ids.pop(place)
        async with locked(service, one):
            consumer = await start_consumer(service)
            await taken_up(service, *ids)
            # Only the message that waits for the lock is left. The consumer extends the visibility
            # timeout of this message.
            await until_in_hand(inbox)
            await asyncio.sleep(HOLD_S / 2)
            assert (await service.row(one)).state == "pending"
            assert await inbox.counts() == (0, 1)
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await is_left_alone(inbox)
        await is_logged_in_pairs(consumer, "database")
        assert "delivered twice" not in consumer.log()
        assert "messages not deleted" not in consumer.log()

    async def test_neither_one_that_waits_nor_one_that_cannot_be_stored_holds_others_up(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        one, bad, *others = await created(service, 10)
        await refuse(service, bad)
        await inbox.send(*[await message(service, each) for each in (one, bad, *others)])
        async with locked(service, one):
            await start_consumer(service)
            await taken_up(service, *others)
        await taken_up(service, one)
        await until(lambda: is_given_up(inbox), within_s=60)

    async def test_with_the_database_away_messages_wait_and_use_up_no_receives(
        self, stack: Stack, inbox: Inbox, start_consumer: StartConsumer, tmp_path: Path
    ) -> None:
        postgres = EmbeddedPostgres(directory=tmp_path / "postgres")
        await postgres.start()
        try:
            await asyncio.to_thread(migrate, postgres.url)
            async with running_service(stack, postgres.url, sqs_queue_url=inbox.url) as service:
                ids = await created(service, 15)
                bodies = [await message(service, each) for each in ids]
                consumer = await start_consumer(service)
                assert postgres.child is not None
                postgres.child.kill()
                await inbox.send(*bodies)
                await consumer.logs("database is unavailable")
                await until_any_in_hand(inbox)
                await postgres.start()
                await taken_up(service, *ids)
                await until(inbox.is_empty)
                assert await is_left_alone(inbox)
                await is_logged_in_pairs(consumer, "database")
        finally:
            await postgres.stop()

    async def test_a_database_that_does_not_answer_holds_no_stop_up(
        self, moto: Moto, start_service: StartService
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        await inbox.send(await message(service, one))
        async with running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as proxy:
            proxy.swallow()
            url = {"ATTACHMENTS_DATABASE_URL": proxy.url}
            with launched(service, program=NO_LONG_POLLS, **url) as consumer:
                await until_in_hand(inbox)
                assert await consumer.stop(within_s=15) == 0
            assert await inbox.counts() == (1, 0)

    async def test_committed_messages_are_deleted_while_the_broker_is_unavailable(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        nowhere = f"redis://{HOST}:{choose_port()}/0"
        consumer = await start_consumer(service, broker_url=nowhere)
        await inbox.send(await message(service, one))
        await taken_up(service, one)
        await until(inbox.is_empty)
        assert await consumer.stop(within_s=10) == 0

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(None, id="nothing listens"),
            pytest.param(status_line(403), id="access is denied"),
        ],
    )
    async def test_a_lost_queue_is_logged_once_and_retried(
        self,
        moto: Moto,
        start_service: StartService,
        start_consumer: StartConsumer,
        answer: bytes | None,
    ) -> None:
        inbox = await moto.make_inbox()
        service = await start_service(sqs_queue_url=inbox.url)
        (one,) = await created(service)
        async with running_proxy(inbox.url) as proxy:
            consumer = await start_consumer(service, sqs_queue_url=proxy.url)
            proxy.cut()
            if answer is not None:
                proxy.let_go()
                proxy.answer(answer)
            await consumer.logs("queue is unavailable")
            await asyncio.sleep(3)  # time for several polls
            proxy.let_go()
            await inbox.send(await message(service, one))
            await taken_up(service, one, within_s=60)
            await is_logged_in_pairs(consumer, "queue")

    async def test_a_queue_that_does_not_answer_holds_no_stop_up(
        self, inbox: Inbox, service: Service, start_consumer: StartConsumer
    ) -> None:
        async with running_proxy(inbox.url) as proxy:
            consumer = await start_consumer(service, sqs_queue_url=proxy.url)
            proxy.swallow()
            assert await consumer.stop(within_s=10) == 0
            assert "is back" not in consumer.log()
