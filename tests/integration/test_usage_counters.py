"""The usage counters equal a recount of the rows, and a wrong counter is corrected."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from shared import counting, lifecycle, quotas
from tests.data.images import photo
from tests.support.commands import command
from tests.support.quotas import NO_DRIFT, PATH, bulk, create, drift, usage
from tests.support.service import Service, until


async def test_a_recount_beside_creates_and_deletes_is_exact(service: Service) -> None:
    """A recount runs while other requests create and delete attachments.

    For each change, the recount must see both the row and the counter changed, or neither. If it
    saw only one of the two, the counter would stay wrong.
    """
    client = service.client

    async def write() -> None:
        for _ in range(15):
            answer = await create(client, size=3)
            await client.request("DELETE", f"{PATH}/{answer.data['id']}")
            await create(client, size=2)

    writers = [asyncio.create_task(write()) for _ in range(4)]
    for _ in range(6):
        await drift(service, client.organization_id)
        await asyncio.sleep(0.02)
    await asyncio.gather(*writers)
    assert await drift(service, client.organization_id) == NO_DRIFT
    shown = await usage(client)
    assert (shown["attachments"], shown["bytes"]) == (60, 300)


async def test_a_drift_is_mended_and_shown(service: Service) -> None:
    await usage(service.client)
    await create(service.client, size=4)
    await service.execute("UPDATE usage SET attachments = 100, bytes = 50, uploads = 0")
    ended = await command(service, "usage", "--recount", "--json")
    (row,) = json.loads(ended.out)
    assert row["mended"]["bytes"] < 0
    assert (row["attachments"], row["bytes"], row["uploads_today"]) == (1, 4, 1)


async def test_a_large_organization_is_counted_by_a_worker(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bulk(service.client, 1, 1, 1)
    monkeypatch.setattr(counting, "AT_ONCE", 2)
    shown = await usage(service.client)
    assert (shown["attachments"], shown["bytes"]) == (None, None)
    async with service.database.acquire() as connection:
        assert await counting.count_waiting(connection) == service.client.organization_id
        assert await counting.count_waiting(connection) is None
    assert (await usage(service.client))["attachments"] == 3


async def test_counting_costs_the_same_for_every_number_of_rows(service: Service) -> None:
    """The query that reads usage must not read the rows of attachments."""
    await usage(service.client)
    async with service.database.acquire() as connection:
        plan = await connection.fetchval(
            "EXPLAIN (FORMAT JSON) " + quotas.COUNTERS.replace("$1", "1")
        )
    assert "attachments_" not in plan


@pytest.mark.parametrize("seed", range(2))
async def test_after_anything_the_counters_agree_with_a_recount(
    working: Service, seed: int
) -> None:
    """The test makes random creates, uploads, overwrites, retries, deletes and purges, with real
    servers.
    """
    client, random = await working.organization(), Random(seed)
    await usage(client)
    made: list[Any] = []

    async def step() -> None:
        kind = random.choice(["create", "create", "upload", "upload", "retry", "delete", "expire"])
        if kind == "create" or not made:
            answer = await create(client, size=random.choice([None, 10, 500]))
            made.append(answer.document)
            return
        document = random.choice(made)
        number = int(document["data"]["id"])
        if kind == "upload":
            content = random.choice([b"", b"text", photo(30, 20), b"MZ" + bytes(600)])
            await client.post_file(document, content)
        elif kind == "retry":
            async with working.database.acquire() as connection:
                await lifecycle.retry(connection, [number])
        elif kind == "delete":
            await client.request("DELETE", f"{PATH}/{number}")
            if random.random() < 0.5:
                async with working.database.acquire() as connection:
                    await lifecycle.settle_purged(connection, number)
        else:
            await working.execute(
                "UPDATE attachments SET policy_expires_at = now() - interval '1 day',"
                " due_at = now() WHERE id = $1 AND deleted_at IS NULL AND state = 'pending'",
                number,
            )

    for _ in range(12):
        await asyncio.gather(*(step() for _ in range(5)))

    async def quiet() -> bool:
        return not await working.database.fetchval(
            "SELECT count(*) FROM attachments WHERE organization_id = $1 AND deleted_at IS NULL"
            " AND state IN ('uploaded', 'processing')",
            client.organization_id,
        )

    await until(quiet, within_s=60)
    assert await drift(working, client.organization_id) == NO_DRIFT
    assert (await usage(client))["attachments"] == await working.database.fetchval(
        "SELECT count(*) FROM attachments WHERE organization_id = $1 AND deleted_at IS NULL",
        client.organization_id,
    )
