"""One organization sends bodies that are hard to parse, without a pause. No other one must wait.

A flood of requests has its own connections. The test counts how many of them are answered while
another organization's request waits. If bodies were parsed on the event loop, in the order of their
arrival, all connections of the flood would be answered before each of those requests.
"""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest

from tests.support.resources import PATH
from tests.support.service import MEDIA_TYPE, Client, until
from tests.support.stack import EVENTS_TOKEN
from tests.support.starting import StartService

CONNECTIONS = 32
CREATES = 20
BULK = f"{MEDIA_TYPE}; ext=bulk"

BOMBS = {
    "arrays-in-each-other": b"[" * 1_000_000,
    "objects-in-each-other": b'{"a":' * 200_000,
    "many-empty-arrays": b"[" + b"[]," * 300_000 + b"[]]",
    "many-numbers": b"[" + b"0," * 480_000 + b"0]",
    "a-long-text-of-escapes": b'{"data":"' + b"\\u0041" * 160_000 + b'"}',
    "not-json": b"\xff" * 1_000_000,
}


class Flood:
    """Counts how often each status was answered to requests that are sent again and again."""

    def __init__(self) -> None:
        self.statuses = Counter[int]()

    @property
    def answered(self) -> int:
        """Return the number of answers so far."""
        return sum(self.statuses.values())


@asynccontextmanager
async def flooded(client: Client, bomb: bytes, path: str) -> AsyncIterator[Flood]:
    """Send a compressed body by all connections during the block."""
    flood, body = Flood(), gzip.compress(bomb)
    headers = {"Content-Type": BULK, "Accept": BULK, "Content-Encoding": "gzip"}
    if path.startswith("/events"):
        headers = {"Authorization": f"Bearer {EVENTS_TOKEN}", "Content-Encoding": "gzip"}

    async def send() -> None:
        while True:
            answer = await client.request("POST", path, body=body, headers=headers)
            flood.statuses[answer.status] += 1

    senders = [asyncio.create_task(send()) for _ in range(CONNECTIONS)]

    async def has_begun() -> bool:
        return flood.answered >= CONNECTIONS

    try:
        await until(has_begun, within_s=60)
        yield flood
        failed = [sender for sender in senders if sender.done()]
        assert failed == []
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)


@pytest.mark.parametrize("path", [PATH, "/events/s3"], ids=["bulk", "event"])
@pytest.mark.parametrize("name", BOMBS)
async def test_requests_of_another_organization_do_not_wait_for_a_flood_of_bombs(
    start_service: StartService, name: str, path: str
) -> None:
    service = await start_service(rate_limit="100000")
    other = await service.organization("other")
    meanwhile = []
    async with flooded(service.client, BOMBS[name], path) as flood:
        for number in range(CREATES):
            before = flood.answered
            document = {"data": {"type": "attachments", "attributes": {"name": f"{number}.png"}}}
            answer = await other.request("POST", PATH, document)
            meanwhile.append(flood.answered - before)
            assert (answer.status, number) == (201, number), json.dumps(answer.document)
    # An event that cannot be parsed is stored as a dead letter, and answered with 200.
    allowed = {200, 413, 429, 503} if path.startswith("/events") else {400, 413, 422, 429, 503}
    assert set(flood.statuses) <= allowed
    assert median(meanwhile) < CONNECTIONS / 2
