"""Functions that start and disturb consumers of SQS, and that check which uploads they record."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from tests.support.consumer import PROGRAM, ConsumerProcess
from tests.support.moto_server import CREDENTIALS, Inbox
from tests.support.service import Service, until


class StartConsumer(Protocol):
    """A function that starts a consumer. `overrides` are settings by their names in lower case."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[ConsumerProcess]: ...


def with_changed(constant: str) -> Sequence[str]:
    """Return arguments with which Python runs a consumer with another value of one constant."""
    return "-c", (
        "import sys; from deploy import cli; from worker.queue import consumer;"
        f" consumer.{constant};"
        " sys.argv = ['attachments', 'consume']; cli.main()"
    )


NO_LONG_POLLS = with_changed("WAIT_S = 0")
"""A consumer that does not use long polls.

moto does not notice that a long poll was interrupted. So it could send a message to an interrupted
poll instead of a consumer.
"""


def consumer_of(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> ConsumerProcess:
    """Return a consumer process that is not started yet.

    Its environment is that of the service with `changes`, and without the variables in `gone`.
    """
    given = {"PATH": os.environ["PATH"], **service.environment, **CREDENTIALS, **changes}
    environment = {name: value for name, value in given.items() if name not in gone}
    return ConsumerProcess(environment, program)


@contextmanager
def launched(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> Iterator[ConsumerProcess]:
    """Start a consumer without waiting for it; assert that it logs no secret and no traceback."""
    consumer = consumer_of(service, *gone, program=program, **changes)
    consumer.launch()
    try:
        yield consumer
        logged_no_secret(consumer)
        assert "Traceback" not in consumer.log()
    finally:
        consumer.close()


def logged_no_secret(consumer: ConsumerProcess) -> None:
    log = consumer.log()
    password = urlsplit(consumer.environment["ATTACHMENTS_DATABASE_URL"]).password
    assert password is not None
    for secret in (password, *CREDENTIALS.values()):
        assert secret not in log


async def key_of(service: Service, attachment_id: str) -> str:
    return (await service.row(attachment_id)).key


def record(bucket: str, key: str, *, sequencer: str = "0A", etag: str = "e1") -> dict[str, Any]:
    """Return an event record as S3 writes it."""
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
    """Create `count` attachments, and return their ids."""
    documents = [await service.client.create(f"{number}.png") for number in range(count)]
    return [document["data"]["id"] for document in documents]


async def message(service: Service, *ids: str, **changes: str) -> str:
    """Return the S3 message that reports the uploads of these attachments."""
    bucket = service.settings.s3_bucket
    return json.dumps(
        {"Records": [record(bucket, await key_of(service, each), **changes) for each in ids]}
    )


async def taken_up(service: Service, *ids: str, within_s: float = 30) -> None:
    """Wait until the uploads of these attachments are recorded."""

    async def recorded() -> bool:
        rows = [await service.row(each) for each in ids]
        return all(row.state == "uploaded" for row in rows)

    await until(recorded, within_s=within_s)


async def is_left_alone(inbox: Inbox) -> bool:
    """Return True if no message has gone to the dead-letter queue."""
    assert inbox.dead is not None
    return await inbox.dead.is_empty()


@asynccontextmanager
async def locked(service: Service, attachment_id: str) -> AsyncIterator[None]:
    """Lock the row of an attachment in the block, so that every statement that changes the row
    waits.
    """
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM attachments WHERE id = $1 FOR UPDATE", int(attachment_id)
        )
        yield


async def refuse(service: Service, attachment_id: str) -> None:
    """Make the database refuse every statement that changes this attachment."""
    await service.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = {int(attachment_id)} THEN RAISE 'not this one'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON attachments
        FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )


async def is_given_up(inbox: Inbox) -> bool:
    """Return True if the queue is empty and its dead-letter queue holds exactly one message."""
    assert inbox.dead is not None
    return await inbox.is_empty() and await inbox.dead.counts() == (1, 0)


async def until_any_in_hand(inbox: Inbox) -> None:
    """Wait until at least one message has been received but not deleted.

    The number is not checked, because the queue decides how many messages each poll receives.
    """

    async def in_hand() -> bool:
        _, held = await inbox.counts()
        return held > 0

    await until(in_hand, within_s=30)


async def until_in_hand(inbox: Inbox, count: int = 1) -> None:
    """Wait until all messages have been received, and exactly `count` of them are not deleted."""

    async def in_hand() -> bool:
        return await inbox.counts() == (0, count)

    await until(in_hand, within_s=30)
