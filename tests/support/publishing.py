"""Functions for tests of the publisher: a frozen broker, and the messages in a queue."""

import json
import os
import signal
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from shared.lifecycle import WakeUp
from shared.publisher import Publisher
from tests.support.service import until

Broker: TypeAlias = "redis.asyncio.Redis"


@contextmanager
def publishing(broker_url: str) -> Iterator[Publisher]:
    made = Publisher(broker_url, "")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def frozen(server: EmbeddedValkey) -> Iterator[None]:
    """Suspend the broker's process in the block; its port still accepts connections."""
    assert server.child is not None
    os.kill(server.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.child.pid, signal.SIGCONT)


def wake_up(number: int, *, organization_id: int = 1) -> WakeUp:
    return WakeUp(attachment_id=number, organization_id=organization_id, revision=1)


async def queued(broker: Broker, queue: str, count: int) -> list[dict[str, Any]]:
    """Wait until a queue of the broker holds `count` messages, and return the messages, oldest
    first.
    """

    async def arrived() -> bool:
        return int(await broker.llen(queue)) >= count

    await until(arrived)
    return [json.loads(text) for text in reversed(await broker.lrange(queue, 0, -1))]


def arguments(message: dict[str, Any]) -> Any:
    return json.loads(b64decode(message["body"]))[0]
