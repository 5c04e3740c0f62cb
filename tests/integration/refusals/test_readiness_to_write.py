"""Readiness is 503 if the service may read rows but may not create attachments."""

import asyncpg
import pytest

from tests.support.roles import with_role
from tests.support.service import Service, until
from tests.support.starting import StartService

PATH = "/api/v2/attachments"

CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}


@pytest.mark.parametrize(
    "grants",
    [
        pytest.param("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", id="reads only"),
        pytest.param(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest;"
            "ALTER ROLE guest SET default_transaction_read_only = on",
            id="read-only",
        ),
    ],
)
async def test_ready_is_503_where_the_service_may_read_and_not_write(
    start_service: StartService,
    owner: "asyncpg.Connection[asyncpg.Record]",
    database_url: str,
    grants: str,
) -> None:
    await owner.execute(grants)
    service = await start_service(database_url=with_role(database_url, "guest"))
    assert (await service.client.request("GET", PATH)).status == 200
    assert (await service.client.request("POST", PATH, CREATE)).status == 503
    assert (await service.client.request("GET", "/health/ready")).status == 503


@pytest.mark.parametrize(
    "change",
    [
        "REVOKE SELECT ON tokens FROM guest",
        "REVOKE SELECT ON organizations FROM guest",
        # The next two statements remove a column, as if a migration had not run.
        "ALTER TABLE attachments RENAME limit_size TO other",
        "ALTER TABLE organizations RENAME quota_bytes TO other",
    ],
)
async def test_ready_is_503_where_every_create_is(
    start_service: StartService,
    owner: "asyncpg.Connection[asyncpg.Record]",
    database_url: str,
    change: str,
) -> None:
    await owner.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest"
    )
    await owner.execute(change)
    service = await start_service(database_url=with_role(database_url, "guest"))
    assert (await service.client.request("POST", PATH, CREATE)).status == 503
    assert (await service.client.request("GET", "/health/ready")).status == 503


async def test_ready_is_503_after_a_full_disk_until_a_write_succeeds(service: Service) -> None:
    await service.execute(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE SQLSTATE '53100'; END $$"
    )
    await service.execute(
        "CREATE TRIGGER full_disk BEFORE INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION fill()"
    )
    client = service.client
    assert (await client.request("GET", "/health/ready")).status == 200
    assert (await client.request("POST", PATH, CREATE)).status == 503
    for _ in range(2):
        assert (await client.request("GET", "/health/ready")).status == 503

    await service.execute("DROP TRIGGER full_disk ON attachments")

    async def ready() -> bool:
        return (await client.request("GET", "/health/ready")).status == 200

    await until(ready)


async def test_grants_on_the_tables_are_enough(
    start_service: StartService, owner: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    await owner.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest"
    )
    service = await start_service(database_url=with_role(database_url, "guest"))
    assert (await service.client.request("POST", PATH, CREATE)).status == 201
    assert (await service.client.request("GET", "/health/ready")).status == 200
