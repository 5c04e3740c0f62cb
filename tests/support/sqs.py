"""Consumers of SQS: started, disturbed, and what they take up."""

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
    """Starts a consumer; overrides are settings by lower-case name."""

    def __call__(self, service: Service, **overrides: str) -> Awaitable[ConsumerProcess]: ...


def with_changed(constant: str) -> Sequence[str]:
    """Return the program of a consumer for which a constant is another."""
    return "-c", (
        "import sys; from deploy import cli; from worker.queue import consumer;"
        f" consumer.{constant};"
        " sys.argv = ['attachments', 'consume']; cli.main()"
    )


NO_LONG_POLLS = with_changed("WAIT_S = 0")
"""A long poll that is cut off would take what is given back: moto does not see it end."""


def consumer_of(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> ConsumerProcess:
    """Make a consumer with a service's settings, changed and without some; it does not run yet."""
    given = {"PATH": os.environ["PATH"], **service.environment, **CREDENTIALS, **changes}
    environment = {name: value for name, value in given.items() if name not in gone}
    return ConsumerProcess(environment, program)


@contextmanager
def launched(
    service: Service, *gone: str, program: Sequence[str] = PROGRAM, **changes: str
) -> Iterator[ConsumerProcess]:
    """Run a consumer that need not get ready; it logs no secret and no bug."""
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
    """Write a record as S3 does."""
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
    """Create attachments."""
    documents = [await service.client.create(f"{number}.png") for number in range(count)]
    return [document["data"]["id"] for document in documents]


async def message(service: Service, *ids: str, **changes: str) -> str:
    """Write S3's message about the uploads of attachments."""
    bucket = service.settings.s3_bucket
    return json.dumps(
        {"Records": [record(bucket, await key_of(service, each), **changes) for each in ids]}
    )


async def taken_up(service: Service, *ids: str, within_s: float = 30) -> None:
    """Wait until the uploads of attachments are recorded."""

    async def recorded() -> bool:
        rows = [await service.row(each) for each in ids]
        return all(row.state == "uploaded" for row in rows)

    await until(recorded, within_s=within_s)


async def is_left_alone(inbox: Inbox) -> bool:
    """Return True if no message has come more than once."""
    assert inbox.dead is not None
    return await inbox.dead.is_empty()


@asynccontextmanager
async def locked(service: Service, attachment_id: str) -> AsyncIterator[None]:
    """Let nobody change an attachment for a while: what wants to, waits."""
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM attachments WHERE id = $1 FOR UPDATE", int(attachment_id)
        )
        yield


async def refuse(service: Service, attachment_id: str) -> None:
    """Let no statement that changes an attachment succeed."""
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
    """Return True if one message is in the dead-letter queue, and none elsewhere."""
    assert inbox.dead is not None
    return await inbox.is_empty() and await inbox.dead.counts() == (1, 0)


async def until_in_hand(inbox: Inbox, count: int = 1) -> None:
    """Wait until a consumer has messages in hand."""

    async def in_hand() -> bool:
        return await inbox.counts() == (0, count)

    await until(in_hand, within_s=30)
