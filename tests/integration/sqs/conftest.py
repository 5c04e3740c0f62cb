"""Fixtures of the tests of SQS: a queue, an API, and consumers that end with the test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.consumer import ConsumerProcess
from tests.support.moto_server import Inbox, Moto
from tests.support.service import Service
from tests.support.sqs import StartConsumer, consumer_of, logged_no_secret
from tests.support.starting import StartService


@pytest_asyncio.fixture
async def start_consumer() -> AsyncIterator[StartConsumer]:
    """Return a function that starts consumers.

    The consumers end with the test. Then the fixture asserts that they logged no secret.
    """
    started: list[ConsumerProcess] = []

    async def start(service: Service, **overrides: str) -> ConsumerProcess:
        changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
        consumer = consumer_of(service, **changes)
        started.append(consumer)
        return await consumer.start()

    yield start
    for consumer in started:
        consumer.kill()
    for consumer in started:
        logged_no_secret(consumer)
        consumer.close()


@pytest_asyncio.fixture
async def inbox(moto: Moto) -> Inbox:
    """Make a queue that delivers a message only once.

    After that, the message goes to the dead-letter queue.
    """
    return await moto.make_inbox(receives=1)


@pytest_asyncio.fixture
async def service(start_service: StartService, inbox: Inbox) -> Service:
    """Start an API without a worker, whose events come from the queue."""
    return await start_service(sqs_queue_url=inbox.url)
