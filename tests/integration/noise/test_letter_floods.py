"""Floods of unreadable events: the number of dead letters of each origin is limited."""

import asyncio
from collections import Counter

import asyncpg
import pytest

from api.noise import FAULTS_AT_ONCE
from shared import dead_letters
from shared.allowance import BURST
from shared.settings import load_settings
from tests.support.noise import exchange, lines_of, request
from tests.support.service import Service
from tests.support.service_processes import ApiProcess
from tests.support.stack import BUCKET, EVENTS_TOKEN


async def origins(service: Service) -> Counter[str]:
    """Return the number of dead letters of each origin."""
    rows = await service.database.fetch("SELECT origin FROM dead_letters")
    return Counter(row[0] for row in rows)


async def post_event(api: ApiProcess, body: bytes, source: str) -> None:
    """Post an event from a loopback address, and assert that the API accepts it."""
    head = request(
        "/events/s3",
        f"Authorization: Bearer {EVENTS_TOKEN}",
        f"Content-Length: {len(body)}",
        method="POST",
    )
    assert (await exchange(api, head + body, source=source)).startswith(b"HTTP/1.1 200")


async def test_a_flood_of_one_origin_drops_only_its_own_letters(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    settings = load_settings(
        database_url="postgresql://h/d",
        broker_url="redis://h",
        s3_bucket=BUCKET,
        files_secret="a secret of the tests",
        dead_letters="200",
    )

    async def keep(origin: str, number: int) -> None:
        async with connection.transaction():
            body = f"{origin} {number}".encode()
            await dead_letters.lock(connection)
            assert await dead_letters.keep(
                connection, body, source="webhook", origin=origin, dialect=None, reason="r"
            )
            await dead_letters.prune(connection, settings, [origin])

    for number in range(5):
        await keep("b", number)
    for number in range(1000):
        await keep("a", number)
    rows = await connection.fetch("SELECT origin, body FROM dead_letters ORDER BY id")
    assert Counter(row[0] for row in rows)["b"] == 5
    assert 198 <= len(rows) <= 200
    assert rows[-1][1] == b"a 999"
    # The two floods, "a" and "c", get equal shares. No dead letter of the origin "b" is deleted.
    for number in range(200):
        await keep("c", number)
    found = Counter(row[0] for row in await connection.fetch("SELECT origin FROM dead_letters"))
    assert found["b"] == 5
    assert abs(found["a"] - found["c"]) <= 2
    counted = dict(
        tuple(row)
        for row in await connection.fetch("SELECT origin, letters FROM dead_letter_origins")
    )
    assert counted == {**found, "": found.total()}


async def test_an_origin_holds_a_bounded_number_of_bytes(
    connection: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MAX_ORIGIN_BYTES", 1000)
    settings = load_settings(
        database_url="postgresql://h/d",
        broker_url="redis://h",
        s3_bucket=BUCKET,
        files_secret="a secret of the tests",
    )
    for number in range(30):
        for origin in ("a", "b"):
            body = f"{origin}{number}".encode().ljust(300 if origin == "a" else 30)
            await dead_letters.keep(
                connection, body, source="webhook", origin=origin, dialect=None, reason="r"
            )
            await dead_letters.prune(connection, settings, [origin])
    rows = await connection.fetch("SELECT origin, body FROM dead_letters ORDER BY id DESC")
    assert [row[1].strip() for row in rows if row[0] == "a"] == [b"a29", b"a28", b"a27"]
    assert sum(row[0] == "b" for row in rows) == 30


async def test_a_flood_of_events_leaves_the_letters_of_other_addresses(
    api: ApiProcess, service: Service
) -> None:
    for number in range(5):
        await post_event(api, b"other %d" % number, "127.0.0.2")
    numbers = iter(range(3 * BURST))

    async def some() -> None:
        for number in numbers:
            await post_event(api, b"flood %d" % number, "127.0.0.1")

    await asyncio.gather(*(some() for _ in range(8)))
    found = await origins(service)
    flooding, other = "webhook token 1 127.0.0.1 unknown", "webhook token 1 127.0.0.2 unknown"
    assert found.keys() == {flooding, other}
    assert found[other] == 5
    assert found[flooding] >= BURST
    # A repeated message is counted even while new messages of its origin are not stored.
    await post_event(api, b"flood 0", "127.0.0.1")
    assert (
        await service.database.fetchval(
            "SELECT count FROM dead_letters WHERE body = $1", b"flood 0"
        )
        == 2
    )
    assert len(lines_of(api.log(), "unreadable event")) <= 2 * FAULTS_AT_ONCE + 1
