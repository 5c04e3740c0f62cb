"""Migrations that fail because of the role's privileges, the schema's version or the encoding."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from shared.schema import NotMigrated, migrate
from tests.support.commands import command
from tests.support.roles import with_role
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"

CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}

EMOJI = {"data": {"type": "attachments", "attributes": {"name": "🦊.png"}}}


@pytest_asyncio.fixture
async def empty(stack: Stack) -> AsyncIterator[str]:
    """Create an empty database to which the role `guest` may connect, and return its address."""
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS unmigrated")
    await connection.execute("CREATE DATABASE unmigrated")
    yield stack.postgres.database_url("unmigrated")
    await connection.close()


@pytest.mark.parametrize(
    ("setup", "cause"),
    [
        pytest.param("SELECT 1", "GRANT CREATE ON SCHEMA public", id="no CREATE on public"),
        pytest.param(
            "ALTER ROLE guest SET default_transaction_read_only = on", "read-only", id="read-only"
        ),
    ],
)
async def test_migrate_reports_the_privilege_that_the_role_lacks(
    service: Service,
    owner: "asyncpg.Connection[asyncpg.Record]",
    empty: str,
    setup: str,
    cause: str,
) -> None:
    await owner.execute(setup)
    ended = await command(service, "migrate", database_url=with_role(empty, "guest"))
    assert ended.status == 1
    [line] = ended.err.splitlines()
    assert cause in line


async def test_limits_of_the_role_do_not_stop_a_migration(
    owner: "asyncpg.Connection[asyncpg.Record]", empty: str
) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute("GRANT CREATE ON SCHEMA public TO guest")
    await connection.execute("ALTER ROLE guest SET statement_timeout = 1")
    try:
        await asyncio.to_thread(migrate, with_role(empty, "guest"))
    finally:
        await connection.execute("DROP OWNED BY guest")
        await connection.close()


async def test_migrate_does_not_know_a_newer_schema(service: Service) -> None:
    await service.execute("UPDATE alembic_version SET version_num = '9999'")
    ended = await command(service, "migrate")
    assert ended.status == 1
    [line] = ended.err.splitlines()
    assert "newer version" in line


async def make_database(stack: Stack, encoding: str) -> str:
    """Create an empty database with this encoding."""
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS encoded")
    await connection.execute(
        f"CREATE DATABASE encoded TEMPLATE template0 ENCODING '{encoding}'"
        " LOCALE_PROVIDER libc LOCALE 'C'"
    )
    await connection.close()
    return stack.postgres.database_url("encoded")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_migrate_wants_utf8_for_a_new_schema(stack: Stack, encoding: str) -> None:
    url = await make_database(stack, encoding)
    with pytest.raises(NotMigrated, match=f"the encoding {encoding}, not UTF8"):
        await asyncio.to_thread(migrate, url)


async def test_a_name_that_an_old_database_cannot_hold_is_an_error_for_the_client(
    stack: Stack, start_service: StartService
) -> None:
    url = await make_database(stack, "LATIN1")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    await connection.close()
    await asyncio.to_thread(migrate, url)
    service = await start_service(database_url=url)
    # Copy the client's organization and token from the database of the fixture to this database.
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 77000000")
    await connection.execute("INSERT INTO organizations (id, name) VALUES (1, 'x')")
    copied = await service.database.fetchrow("SELECT digest, organization_id FROM tokens")
    assert copied is not None
    await connection.execute(
        "INSERT INTO tokens (organization_id, name, digest) VALUES ($1, 'x', $2)",
        service.client.organization_id,
        copied["digest"],
    )
    await connection.close()

    assert (await service.client.request("POST", PATH, CREATE)).status == 201
    answer = await service.client.request("POST", PATH, EMOJI)
    assert answer.status == 503
    assert "UTF8" in answer.document["errors"][0]["detail"]
    listed = await service.client.request("GET", f"{PATH}?filter[comment_id]=1")
    assert listed.status == 200
