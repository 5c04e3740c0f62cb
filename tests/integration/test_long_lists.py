"""Very long lists: totals are estimated, and a request that takes too long is answered with 400."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.resources import PATH
from tests.support.service import Service, until

FILL = """
INSERT INTO attachments (organization_id, bucket, name, file_name, attachable_type, attachable_id,
                         policy_expires_at)
SELECT $1, 'bucket', 'img.png', 'img.png', 'task', 1 + n % 2, now()
FROM generate_series(1, $2::integer) AS n
"""


MANY = ",".join(map(str, range(1, 201)))


async def fill(service: Service, organization_id: int, rows: int) -> None:
    """Insert many rows for an organization."""
    connection = await asyncpg.connect(service.environment["ATTACHMENTS_DATABASE_URL"])
    await connection.execute(FILL, organization_id, rows)
    await connection.execute("VACUUM ANALYZE attachments")
    await connection.close()


async def test_totals_are_exact_up_to_100000_and_an_estimate_beyond(service: Service) -> None:
    client, other = service.client, await service.organization()
    await fill(service, client.organization_id, 100_000)
    answer = await client.request("GET", f"{PATH}?page[size]=200&page[number]=500")
    assert len(answer.data) == 200
    assert answer.document["meta"]["total_count"] == 100_000
    assert "total_is_estimate" not in answer.document["meta"]
    assert set(answer.document["links"]) == {"first", "last", "prev"}
    await fill(service, client.organization_id, 50_000)
    for query in ("", "filter[page_id][not_eq]=1&"):
        answer = await client.request("GET", f"{PATH}?{query}page[size]=200&page[number]=500")
        meta = answer.document["meta"]
        assert meta["total_is_estimate"] is True
        assert 100_001 <= meta["total_count"] < 200_000
        assert set(answer.document["links"]) == {"first", "prev", "next"}
        answer = await client.request("GET", f"{PATH}?{query}page[size]=200&page[number]=501")
        assert len(answer.data) == 200
        assert set(answer.document["links"]) == {"first", "prev"}
    exact = await client.request("GET", f"{PATH}?filter[task_id]=1")
    assert exact.document["meta"]["total_count"] == 75_000
    assert "total_is_estimate" not in exact.document["meta"]
    alone = await client.request("GET", f"{PATH}?filter[task_id][not_eq]=1,2")
    assert alone.document["meta"]["total_count"] == 0
    assert (await other.request("GET", PATH)).document["meta"]["total_count"] == 0


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[task_id][not_eq]=1,2", "filter[task_id][not_eq]"),
        ("filter[page_id]=3&filter[task_id][not_eq]=1,2&sort=-id", "filter[task_id][not_eq]"),
        ("filter[comment_id][not_eq]=1&page[after]=", "filter[comment_id][not_eq]"),
        ("page[number]=200&page[size]=100", "page[number]"),
        (f"filter[task_id]={MANY}&page[number]=6&page[size]=200", "page[number]"),
    ],
)
async def test_a_walk_that_takes_too_long_is_400_with_a_remedy(
    service: Service, monkeypatch: pytest.MonkeyPatch, query: str, parameter: str
) -> None:
    monkeypatch.setattr("api.walks.WALK_S", 0.001)
    await fill(service, service.client.organization_id, 30_000)
    async with stuck(service):
        answer = await service.client.request("GET", f"{PATH}?{query}")
    assert answer.status == 400
    detail = answer.document["errors"][0]["detail"]
    assert f"'{parameter}'" in detail
    assert "'page[after]'" in detail
    assert (await service.client.request("GET", f"{PATH}?page[after]=")).status == 200


@pytest.mark.parametrize("page", ["", "&page[after]="])
async def test_filters_that_sift_the_attachments_of_a_crowded_object_are_a_walk(
    service: Service, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr("api.walks.WALK_S", 0.05)
    await fill(service, service.client.organization_id, 5000)
    # Only a statement that reads the column `state` is slow.
    await service.execute(
        "CREATE FUNCTION slow(text) RETURNS text LANGUAGE sql STABLE"
        " AS 'SELECT CASE WHEN pg_sleep(10) IS NOT NULL THEN $1 END'"
    )
    await service.execute("ALTER TABLE attachments RENAME TO everything")
    others = await service.database.fetchval(
        "SELECT string_agg(attname, ', ') FROM pg_attribute"
        " WHERE attrelid = 'everything'::regclass AND attnum > 0 AND attname <> 'state'"
    )
    await service.execute(
        f"CREATE VIEW attachments AS SELECT {others}, slow(state) AS state FROM everything"
    )
    query = "filter[task_id]=1&filter[state]=failed"
    answer = await service.client.request("GET", f"{PATH}?{query}{page}")
    assert answer.status == 400
    detail = answer.document["errors"][0]["detail"]
    assert detail.startswith("Parameters 'filter[task_id]' and 'filter[state]': ")
    assert detail.endswith("Use fewer of these filters, or a filter by ids")


@asynccontextmanager
async def stuck(service: Service) -> AsyncIterator[None]:
    """Lock the table in the block, so that every list request runs until its timeout."""
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE")
        yield


async def test_a_flood_of_walks_that_take_too_long_keeps_no_one_waiting(
    service: Service,
) -> None:
    # Each request waits in the database until it is answered with 400, like a request that has to
    # read 10^7 rows.
    client, other = service.client, await service.organization()
    await fill(service, client.organization_id, 1000)
    await service.execute(
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql VOLATILE"
        " AS 'SELECT pg_sleep(10) IS NOT NULL'"
    )
    await service.execute("ALTER TABLE attachments RENAME TO everything")
    await service.execute(
        "CREATE VIEW attachments AS SELECT * FROM everything"
        f" WHERE organization_id <> {client.organization_id} OR attachable_id IS NULL OR slow()"
    )
    query = "filter[task_id][not_eq]=1,2"
    flood = [asyncio.create_task(client.request("GET", f"{PATH}?{query}")) for _ in range(40)]

    async def walking() -> int:
        return int(
            await service.database.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                " AND datname = current_database()"
            )
        )

    await until(walking)
    for _ in range(5):
        assert (await other.create("b.png"))["data"]["id"]
        created = await client.create("a.png")
        assert (await client.request("GET", f"{PATH}/{created['data']['id']}")).status == 200
        assert await walking() <= 1
    statuses = [(await task).status for task in flood]
    assert set(statuses) <= {400, 429}
    assert 400 in statuses
