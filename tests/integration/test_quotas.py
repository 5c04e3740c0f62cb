"""Quotas: what is over them is refused by name, and the counters agree with a recount."""

import asyncio
import base64
import json
from random import Random
from typing import Any

import asyncpg
import pytest

from shared import copy_claims, counting, lifecycle, new_attachments, quotas
from shared.database import Connection
from shared.new_attachments import NewAttachment
from shared.quotas import QuotaExceeded, Quotas
from tests.data.images import photo
from tests.support.commands import command
from tests.support.objects import opened_storage
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, until
from tests.support.starting import StartService, StartWorker

BULK = f"{MEDIA_TYPE}; ext=bulk"
PATH = "/api/v2/attachments"


def resource(**attributes: Any) -> dict[str, Any]:
    return {"type": "attachments", "attributes": {"name": "a.txt", **attributes}}


async def create(client: Client, **attributes: Any) -> Answer:
    return await client.request("POST", PATH, {"data": resource(**attributes)})


async def bulk(client: Client, *sizes: int) -> Answer:
    headers = {"Content-Type": BULK, "Accept": BULK}
    document = {"data": [resource(size=size) for size in sizes]}
    return await client.request("POST", PATH, document, headers=headers)


async def usage(client: Client) -> dict[str, Any]:
    answer = await client.request("GET", "/api/v2/usage")
    assert answer.status == 200, answer.body
    assert answer.data["id"] == str(client.organization_id)
    assert answer.data["type"] == "usage"
    return dict(answer.data["attributes"])


async def limit(service: Service, client: Client, *options: str) -> None:
    number = str(client.organization_id)
    ended = await command(service, "organizations", "limit", number, *options)
    assert ended.status == 0, ended.err

    async def known() -> bool:
        # The API learns it by a notification, or after 5 s.
        own = await service.database.fetchval(
            "SELECT (quota_attachments, quota_bytes, quota_uploads_per_day)::text"
            " FROM organizations WHERE id = $1",
            client.organization_id,
        )
        return own is not None

    await until(known)
    await asyncio.sleep(0.2)


async def drift(service: Service, organization_id: int) -> dict[str, int]:
    async with service.database.acquire() as connection:
        return await counting.recount(connection, organization_id)


NO_DRIFT = {"attachments": 0, "bytes": 0, "uploads": 0}


async def test_without_a_quota_everything_fits_and_usage_is_shown(service: Service) -> None:
    for _ in range(3):
        assert (await create(service.client, size=10)).status == 201
    shown = await usage(service.client)
    assert shown.pop("as_of")
    assert shown == {
        "attachments": 3,
        "bytes": 30,
        "uploads_today": 3,
        "limits": {"attachments": None, "bytes": None, "uploads_per_day": None},
    }
    assert (await create(service.client, size=5)).status == 201
    assert (await usage(service.client))["bytes"] == 35
    assert await drift(service, service.client.organization_id) == NO_DRIFT


@pytest.mark.parametrize(
    ("setting", "quota", "value"),
    [
        ("quota_attachments", "attachments", 2),
        ("quota_uploads_per_day", "uploads_per_day", 2),
        ("quota_bytes", "bytes", 20),
    ],
)
async def test_what_is_over_a_quota_is_refused_by_its_name(
    start_service: StartService, setting: str, quota: str, value: int
) -> None:
    service = await start_service(**{setting: str(value)})
    for _ in range(2):
        assert (await create(service.client, size=10)).status == 201
    answer = await create(service.client, size=10)
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["status"] == "422"
    assert error["code"] == "quota_exceeded"
    assert error["title"] == "Quota Exceeded"
    assert error["detail"].endswith("is used up")
    assert error["meta"] == {
        "quota": quota,
        "limit": value,
        "used": value,
        "asked": 10 if quota == "bytes" else 1,
    }
    assert error["source"] == {"pointer": "data"}
    assert (await usage(service.client))["attachments"] == 2
    other = await service.organization()
    assert (await create(other, size=10)).status == 201


async def test_bulk_is_all_or_none_and_the_first_that_does_not_fit_is_named(
    start_service: StartService,
) -> None:
    service = await start_service(quota_bytes="100")
    answer = await bulk(service.client, 30, 30, 30, 30, 30)
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["source"] == {"pointer": "data/3"}
    assert error["meta"]["asked"] == 150
    assert await service.database.fetchval("SELECT count(*) FROM attachments") == 0
    assert (await bulk(service.client, 50, 50)).status == 201
    assert (await usage(service.client))["bytes"] == 100


async def test_parallel_creates_fill_a_quota_exactly(start_service: StartService) -> None:
    service = await start_service(quota_attachments="37")
    answers = await asyncio.gather(*(create(service.client) for _ in range(100)))
    assert sorted({answer.status for answer in answers}) == [201, 422]
    assert sum(answer.status == 201 for answer in answers) == 37
    assert await service.database.fetchval("SELECT count(*) FROM attachments") == 37
    assert await drift(service, service.client.organization_id) == NO_DRIFT


async def insert(connection: Connection, organization_id: int) -> None:
    await new_attachments.create(
        connection,
        [NewAttachment(name="a")],
        organization_id=organization_id,
        creator_id=None,
        bucket="b",
        policy_ttl_s=60,
        first_check_s=60,
        quotas=Quotas(attachments=1),
    )


async def test_a_create_waits_for_one_that_is_not_committed_yet(service: Service) -> None:
    organization_id = service.client.organization_id
    await usage(service.client)
    async with service.database.acquire() as first, service.database.acquire() as second:
        transaction = first.transaction()
        await transaction.start()
        await insert(first, organization_id)
        waiting = asyncio.create_task(insert(second, organization_id))

        async def waits() -> bool:
            return waiting.done() or await service.database.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            )

        await until(waits)
        await transaction.commit()
        with pytest.raises(QuotaExceeded):
            await waiting


async def connection_with_own_slot(service: Service) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect in a session that shares its slot of the counters with no other one."""
    while True:
        connection = await asyncpg.connect(service.environment["ATTACHMENTS_DATABASE_URL"])
        if await connection.fetchval(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid % 64 = pg_backend_pid() % 64"
        ):
            return connection
        await connection.close()


async def test_without_a_quota_no_create_waits_for_another(service: Service) -> None:
    organization_id = service.client.organization_id
    await usage(service.client)
    first = await connection_with_own_slot(service)
    transaction = first.transaction()
    await transaction.start()
    await insert(first, organization_id)
    for _ in range(5):
        assert (await create(service.client)).status == 201
    await transaction.rollback()
    await first.close()


async def test_parallel_bulks_never_pass_a_quota(start_service: StartService) -> None:
    service = await start_service(quota_attachments="250")
    answers = await asyncio.gather(*(bulk(service.client, *[1] * 100) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 2 + [422] * 6
    assert (await usage(service.client))["attachments"] == 200


async def test_under_a_quota_of_bytes_the_policy_lets_in_what_is_counted(
    start_service: StartService,
) -> None:
    service = await start_service(quota_bytes="1000", max_size="600")

    async def highest(**attributes: Any) -> int:
        answer = await create(service.client, **attributes)
        assert answer.status == 201, answer.body
        policy = json.loads(base64.b64decode(answer.data["attributes"]["aws_policy"]["policy"]))
        return int(next(c[2] for c in policy["conditions"] if isinstance(c, list)))

    assert await highest(size=100) == 100
    assert await highest() == 600
    assert (await usage(service.client))["bytes"] == 700
    answer = await create(service.client)
    assert answer.status == 422
    assert answer.document["errors"][0]["detail"] == (
        "the quota of 1000 bytes has 300 left, and 600 are needed"
    )
    assert await highest(size=300) == 300


async def test_an_organizations_own_quotas_win_over_the_settings(
    start_service: StartService,
) -> None:
    service = await start_service(quota_attachments="1")
    client, other = service.client, await service.organization()
    await limit(service, client, "--attachments", "2")
    assert [(await create(client)).status for _ in range(3)] == [201, 201, 422]
    await limit(service, client, "--attachments", "none")
    assert [(await create(client)).status for _ in range(3)] == [201] * 3
    assert (await usage(client))["limits"]["attachments"] is None
    await limit(service, client, "--attachments", "default")
    assert (await create(client)).status == 422
    assert [(await create(other)).status for _ in range(2)] == [201, 422]


async def test_a_quota_holds_at_once_for_an_organization_that_had_none(service: Service) -> None:
    assert (await bulk(service.client, *[1] * 9)).status == 201
    await limit(service, service.client, "--attachments", "10", "--bytes", "1000")
    assert [(await create(service.client, size=1)).status for _ in range(2)] == [201, 422]


async def test_deleting_frees_the_number_and_a_purge_the_bytes(service: Service) -> None:
    client = service.client
    await usage(client)
    attachment_id = (await create(client, size=10)).data["id"]
    await create(client, size=5)
    await client.request("DELETE", f"{PATH}/{attachment_id}")
    shown = await usage(client)
    assert (shown["attachments"], shown["bytes"], shown["uploads_today"]) == (1, 15, 2)
    async with service.database.acquire() as connection:
        await lifecycle.settle_purged(connection, int(attachment_id))
    assert (await usage(client))["bytes"] == 5
    await service.execute("UPDATE attachments SET state = 'expired'")
    shown = await usage(client)
    assert (shown["attachments"], shown["bytes"]) == (1, 0)
    assert await drift(service, client.organization_id) == NO_DRIFT
    await service.execute("DELETE FROM attachments")
    assert (await usage(client))["attachments"] == 0


async def test_uploads_of_yesterday_do_not_count(service: Service) -> None:
    await usage(service.client)
    await create(service.client)
    await service.execute("UPDATE usage SET day = day - 1")
    assert (await usage(service.client))["uploads_today"] == 0
    await create(service.client)
    assert (await usage(service.client))["uploads_today"] == 1


async def test_a_copy_in_place_of_a_file_counts(start_service: StartService) -> None:
    service = await start_service(quota_bytes="100")
    key = "incoming/quota.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    url = f"{service.settings.upload_url}/{key}"
    first = await create(service.client, temp_url=url)
    assert first.status == 201
    assert (await usage(service.client))["bytes"] == 60
    assert (await create(service.client, temp_url=url)).status == 422
    small = await create(service.client, size=1)
    patch = {"data": {"type": "attachments", "attributes": {"temp_url": url}}}
    answer = await service.client.request("PATCH", f"{PATH}/{small.data['id']}", patch)
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["code"] == "quota_exceeded"
    assert error["source"] == {"pointer": "data/attributes/temp_url"}


def copying(url: str) -> dict[str, Any]:
    """Give the document of a PATCH that has an object copied."""
    return {"data": {"type": "attachments", "attributes": {"temp_url": url}}}


async def test_a_copy_counts_from_the_moment_at_which_it_is_asked_for(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    # left to a worker; there is none
    monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 10)
    service = await start_service(quota_bytes="200")
    client, key = service.client, "incoming/counted.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    url = f"{service.settings.upload_url}/{key}"
    assert (await create(client, temp_url=url, size=1)).status == 201
    assert (await usage(client))["bytes"] == 60
    pending = [(await create(client, size=1)).data["id"] for _ in range(5)]
    assert (await usage(client))["bytes"] == 65

    # one of them has a small file already
    await service.execute(
        "UPDATE attachments SET state = 'ready', uploaded_at = now(), etag = 'e' WHERE id = $1",
        int(pending[0]),
    )
    answers = await asyncio.gather(
        *(client.request("PATCH", f"{PATH}/{number}", copying(url)) for number in pending)
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 422, 422, 422]
    refused = next(answer for answer in answers if answer.status == 422)
    (error,) = refused.document["errors"]
    assert error["code"] == "quota_exceeded"
    assert error["source"] == {"pointer": "data/attributes/temp_url"}
    assert (await usage(client))["bytes"] == 60 + 2 * 60 + 3
    assert await drift(service, client.organization_id) == NO_DRIFT

    # what cannot be copied counts as before
    asked = next(answer.data["id"] for answer in answers if answer.status == 200)
    async with service.database.acquire() as connection:
        claimed = await copy_claims.claim(connection, int(asked), None, lease_s=60)
        assert claimed is not None
        assert await copy_claims.fail(connection, claimed, reason="copy_failed")
    left = 1 if (await service.row(asked)).state == "ready" else 0
    assert (await usage(client))["bytes"] == 60 + 60 + left + 3
    assert await drift(service, client.organization_id) == NO_DRIFT


async def test_what_was_copied_counts_once_it_is_measured(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(quota_bytes="1000")
    client, key = service.client, "incoming/measured.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    await start_worker(service)
    created = await create(client, temp_url=f"{service.settings.upload_url}/{key}", size=70)
    shown = await client.settled(created.data["id"])
    assert (shown["meta"]["state"], shown["attributes"]["size"]) == ("ready", 60)
    row = await service.row(created.data["id"])
    assert (row.copy_bytes, row.counted_bytes) == (None, 60)
    assert (await usage(client))["bytes"] == 60


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("?include=creator", "Unsupported Include"),
        ("?sort=id", "Unsupported Sort"),
        ("?filter[id]=1", "Unsupported Filter"),
        ("?page[size]=1", "Bad Request"),
        ("?x=1", "Bad Request"),
    ],
)
async def test_usage_refuses_unknown_parameters(working: Service, query: str, title: str) -> None:
    answer = await working.client.request("GET", f"/api/v2/usage{query}")
    assert answer.status == 400
    assert answer.document["errors"][0]["title"] == title


async def test_usage_answers_as_all_routes_do(working: Service) -> None:
    client = working.client
    answer = await client.request("GET", "/api/v2/usage?fields[usage]=bytes&fields[x]=y")
    assert list(answer.data["attributes"]) == ["bytes"]
    # of what is given twice the last counts, and arrays add up
    query = "include=x&include=&fields[usage]=limits&fields[usage]=bytes&fields[usage][]=as_of"
    answer = await client.request("GET", f"/api/v2/usage?{query}")
    assert list(answer.data["attributes"]) == ["bytes", "as_of"]
    assert (await client.request("POST", "/api/v2/usage", {})).status == 405
    no_token = {"X-Auth-Token": ""}
    assert (await client.request("GET", "/api/v2/usage", headers=no_token)).status == 401
    other = {"X-Organization-Id": "999999"}
    assert (await client.request("GET", "/api/v2/usage", headers=other)).status == 403
    plain = {"Accept": "text/plain"}
    assert (await client.request("GET", "/api/v2/usage", headers=plain)).status == 406


async def test_rows_that_the_previous_release_writes_are_counted(service: Service) -> None:
    await usage(service.client)
    await service.execute(
        "INSERT INTO attachments (organization_id, bucket, name, file_name, size,"
        " policy_expires_at, due_at) VALUES ($1, 'b', 'a', 'a', 7, now(), now())",
        service.client.organization_id,
    )
    assert (await usage(service.client))["bytes"] == 7


async def test_a_recount_beside_creates_and_deletes_is_exact(service: Service) -> None:
    """Counting begins while others write, so a change that is half seen would stay as a drift."""
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


async def test_counting_costs_the_same_whatever_there_is(service: Service) -> None:
    """The plan of a read of usage names no other table than the counters and the organization."""
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
    """Creates, uploads, overwrites, retries, deletes and purges in any order, by real parts."""
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


async def test_without_a_quota_of_bytes_a_declared_size_limits_no_upload(
    start_service: StartService,
) -> None:
    service = await start_service(quota_attachments="5", quota_bytes="")
    document = await service.client.create("a.txt", size=1)
    status, body = await service.client.post_file(document, b"more than that")
    assert status == 201, body


async def test_under_a_quota_of_bytes_the_store_refuses_more_than_was_declared(
    start_service: StartService,
) -> None:
    service = await start_service(quota_bytes="500")
    document = await service.client.create("a.txt", size=1)
    status, body = await service.client.post_file(document, b"more than that")
    assert status == 400
    assert "EntityTooLarge" in body
