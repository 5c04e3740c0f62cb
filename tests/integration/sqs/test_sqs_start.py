"""The start of a consumer: what it waits for, and which settings or queues it refuses."""

import json

import pytest

from deploy.embedded.ports import HOST, choose_port
from tests.support.consumer import ConsumerProcess
from tests.support.moto_server import Moto, running_moto
from tests.support.service import Service, until
from tests.support.sqs import StartConsumer, created, launched, message, taken_up


def faults(consumer: ConsumerProcess) -> list[str]:
    """Return the faults that a consumer names in its last log line."""
    *_, last = consumer.log().splitlines()
    logged: list[str] = json.loads(last)["faults"]
    return logged


class TestStart:
    """Faults at the start: the consumer ends, or tries again if the fault is temporary."""

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"ATTACHMENTS_SQS_QUEUE_URL": ""}, "is not set", id="not set"),
            pytest.param({"path": "/123456789012/nope"}, "NonExistentQueue", id="no such queue"),
            pytest.param({"path": ""}, "the queue refuses us: ", id="no queue named"),
            pytest.param(
                {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
                "there are no AWS credentials",
                id="no credentials",
            ),
            pytest.param(
                {"ATTACHMENTS_SQS_QUEUE_URL": "http://a b/1/q"},
                "is not the address of a queue",
                id="no address",
            ),
        ],
    )
    async def test_a_mistyped_value_is_named_in_one_line(
        self, moto: Moto, service: Service, changes: dict[str, str], words: str
    ) -> None:
        if "path" in changes:
            changes = {"ATTACHMENTS_SQS_QUEUE_URL": moto.url + changes["path"]}
        with launched(service, **changes) as consumer:
            assert await consumer.ended(within_s=30) == 1
            (fault,) = faults(consumer)
        assert fault.startswith("ATTACHMENTS_SQS_QUEUE_URL: ")
        assert words in fault

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"AWS_PROFILE": "nope"}, "ProfileNotFound: ", id="no such profile"),
            pytest.param(
                {"AWS_SECRET_ACCESS_KEY": ""}, "PartialCredentialsError: ", id="half of a key"
            ),
        ],
    )
    async def test_unusable_credentials_are_reported_in_one_line(
        self, service: Service, changes: dict[str, str], words: str
    ) -> None:
        environment = {name: value for name, value in changes.items() if value}
        gone = [name for name, value in changes.items() if not value]
        with launched(service, *gone, **environment) as consumer:
            assert await consumer.ended(within_s=30) == 1
            (fault,) = faults(consumer)
        assert fault.startswith(f"AWS credentials: {words}")

    async def test_a_queue_that_may_not_be_read_is_reported_in_one_line(
        self, service: Service
    ) -> None:
        async with running_moto() as guarded:
            inbox = await guarded.make_inbox()
            await guarded.guard()
            with launched(service, ATTACHMENTS_SQS_QUEUE_URL=inbox.url) as consumer:
                assert await consumer.ended(within_s=30) == 1
                (fault,) = faults(consumer)
        assert fault.startswith("ATTACHMENTS_SQS_QUEUE_URL: the queue refuses us: ")

    async def test_a_queue_that_cannot_be_reached_yet_is_waited_for(
        self, service: Service, start_consumer: StartConsumer
    ) -> None:
        (one,) = await created(service)
        port = choose_port()
        url = f"http://{HOST}:{port}/123456789012/late"
        consumer = await start_consumer(service, sqs_queue_url=url)
        await consumer.logs("queue is unavailable")
        async with running_moto(port) as late:
            inbox = await late.make_inbox("late")
            await inbox.send(await message(service, one))
            await taken_up(service, one)
            await until(inbox.is_empty)
            await consumer.stop()
