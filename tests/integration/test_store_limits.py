"""Timeouts of calls to a real store that accepts connections and does not answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.outages import Outage
from shared.storage import Storage
from shared.store_client import open_storage
from shared.store_limits import store_limit
from tests.support.objects import opened_storage
from tests.support.proxy import Proxy
from tests.support.service import make_settings, until
from tests.support.stack import Stack

LIMIT_S = 0.3
LARGE = 20_000_000
"""The size of an object in bytes. It is larger than all buffers between the store and the
client.
"""


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Replace the outage log of the store, because outages of other tests would change it."""
    fresh = Outage("store is unavailable", "store is back")
    monkeypatch.setattr("shared.store_faults.STORE", fresh)
    return fresh


@pytest_asyncio.fixture
async def key(stack: Stack) -> AsyncIterator[str]:
    """Store an object, and return its key."""
    name = f"limits/{uuid4()}"
    async with opened_storage(stack) as storage:
        await storage.write(name, b"old", content_type="text/plain")
        yield name
        await storage.delete(name)


@pytest_asyncio.fixture
async def storage(
    stack: Stack, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Storage]:
    """Open the bucket of the tests through the proxy."""
    environment = stack.environment("postgresql://nowhere/none")
    environment["ATTACHMENTS_S3_ENDPOINT_URL"] = proxy.url
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with open_storage(make_settings(environment)) as opened:
        await opened.credentials()
        yield opened


def errors(verb: str) -> float:
    """Return how many calls of this kind failed because the store was unavailable."""
    labels = {"verb": verb, "error": "unavailable"}
    return REGISTRY.get_sample_value("attachments_store_errors_total", labels) or 0


async def read(storage: Storage, key: str, between: Callable[[], None] = lambda: None) -> None:
    """Read an object, and call `between` after the first piece."""
    async with storage.read(key, end=LARGE) as (_, chunks):
        await anext(chunks)
        between()
        async for _ in chunks:
            pass


CALLS: dict[str, Callable[[Storage, str], Awaitable[object]]] = {
    "head": lambda storage, key: storage.head(key),
    "get": read,
    "put": lambda storage, key: storage.write(key, b"new", content_type="text/plain"),
    "delete": lambda storage, key: storage.delete(key),
}


@pytest.mark.parametrize("verb", CALLS)
async def test_a_call_that_gets_no_answer_in_time_is_a_fault_of_the_store(
    storage: Storage, key: str, proxy: Proxy, outage: Outage, verb: str
) -> None:
    before = errors(verb)
    proxy.hold()
    with capture_logs() as lines, pytest.raises(TimeoutError):
        async with store_limit(LIMIT_S):
            await CALLS[verb](storage, key)
    assert [(line["event"], line["error"]) for line in lines] == [
        ("store is unavailable", "no answer in time")
    ]
    assert outage.away == "no answer in time"
    assert errors(verb) == before + 1


async def test_a_body_that_stops_is_a_fault_of_the_store(
    storage: Storage, key: str, proxy: Proxy, outage: Outage
) -> None:
    before = errors("get")
    await storage.write(key, bytes(LARGE), content_type="text/plain")
    with pytest.raises(TimeoutError):
        async with store_limit(1):
            await read(storage, key, proxy.hold)
    assert outage.away == "no answer in time"
    assert errors("get") == before + 1


async def test_an_answer_ends_the_outage(
    storage: Storage, key: str, proxy: Proxy, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.outages.QUIET_S", 0.0)
    proxy.hold()
    with capture_logs() as lines:
        with pytest.raises(TimeoutError):
            async with store_limit(LIMIT_S, "too late"):
                await storage.head(key)
        assert outage.away == "too late"
        proxy.let_go()
        await storage.head(key)
    assert [line["event"] for line in lines] == ["store is unavailable", "store is back"]
    assert outage.away is None


async def test_a_limit_of_a_task_that_waits_for_something_else_is_no_fault_of_the_store(
    storage: Storage, key: str, proxy: Proxy, outage: Outage
) -> None:
    before = errors("head")
    proxy.hold()
    others = asyncio.create_task(storage.head(key))
    await until(lambda: asyncio.sleep(0, proxy.held))
    with pytest.raises(TimeoutError):
        async with store_limit(LIMIT_S):
            await asyncio.Event().wait()  # wait for something else than the store
    others.cancel()
    await asyncio.wait([others])
    assert outage.away is None
    assert errors("head") == before


async def test_a_call_that_its_caller_cancels_is_no_fault_of_the_store(
    storage: Storage, key: str, proxy: Proxy, outage: Outage
) -> None:
    before = errors("head")
    proxy.hold()

    async def ask() -> None:
        async with store_limit(60):
            await storage.head(key)

    asking = asyncio.create_task(ask())
    await until(lambda: asyncio.sleep(0, proxy.held))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert outage.away is None
    assert errors("head") == before
