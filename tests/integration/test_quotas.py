"""Quotas: a request above a quota gets an error that names the quota, even with parallel
requests.
"""

import asyncio
import base64
import json
from typing import Any

import asyncpg
import pytest

from shared import lifecycle, new_attachments
from shared.database import Connection
from shared.new_attachments import NewAttachment
from shared.quotas import QuotaExceeded, Quotas
from tests.support.commands import command
from tests.support.quotas import NO_DRIFT, PATH, bulk, create, drift, usage
from tests.support.service import Client, Service, some_at_once, until
from tests.support.starting import StartService


async def limit(service: Service, client: Client, *options: str) -> None:
    number = str(client.organization_id)
    ended = await command(service, "organizations", "limit", number, *options)
    assert ended.status == 0, ended.err

    async def known() -> bool:
        own = await service.database.fetchval(
            "SELECT (quota_attachments, quota_bytes, quota_uploads_per_day)::text"
            " FROM organizations WHERE id = $1",
            client.organization_id,
        )
        return own is not None

    await until(known)
    await asyncio.sleep(0.2)  # a notification tells the API about the new quota


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
async def test_a_request_over_a_quota_is_refused_with_its_name(
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
    answers = await some_at_once(create(service.client) for _ in range(100))
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
    """Return a connection that shares its slot of the usage counters with no other session."""
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


async def test_under_a_quota_of_bytes_the_policy_admits_the_counted_size(
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
