"""Addresses of PostgreSQL with foreign parameters, several hosts, or a schema."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import uvloop

from shared.connector import Connector
from shared.database import open_database
from shared.schema import migrate
from tests.support.commands import command
from tests.support.proxy import running_proxy
from tests.support.roles import with_role
from tests.support.service import Service, make_settings
from tests.support.stack import Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"

CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}

MANY_WORDS = (
    "connect_timeout=10&application_name=mine&keepalives_idle=30&tcp_user_timeout=9000"
    "&channel_binding=prefer&gssencmode=prefer&sslmode=prefer&target_session_attrs=read-write"
    "&connection_limit=5&pool_timeout=2&schema=public&unheard_of=1&work_mem=8MB&pgbouncer=false"
)


async def test_words_of_others_in_the_address_do_no_harm(
    start_service: StartService, database_url: str
) -> None:
    url = f"{database_url.replace('postgresql:', 'postgresql+asyncpg:')}?{MANY_WORDS}"
    service = await start_service(database_url=url)

    assert (await service.client.request("POST", PATH, CREATE)).status == 201
    async with open_database(make_settings(service.environment)) as database:
        shown = "SELECT current_setting('work_mem') || current_setting('application_name')"
        assert await database.run(lambda c: c.fetchval(shown)) == "8MBmine"
        assert database.connector is not None
        assert database.connector.ignored == ("connection_limit", "pool_timeout", "unheard_of")
    ended = await command(service, "organizations", "create", "more")
    assert ended.status == 0, ended.err
    ended = await command(service, "migrate")
    assert ended.status == 0, ended.err
    for word in ("connection_limit", "pool_timeout", "unheard_of"):
        assert word in ended.err


async def test_a_host_that_does_not_answer_leaves_time_for_the_next(
    stack: Stack, database_url: str
) -> None:
    parts = urlsplit(database_url)
    user, _, host = parts.netloc.rpartition("@")
    async with running_proxy(database_url) as proxy:
        proxy.swallow()
        silent = urlsplit(proxy.url).netloc.rpartition("@")[2]
        words = "target_session_attrs=read-write"
        url = parts._replace(netloc=f"{user}@{silent},{host}", query=words).geturl()
        async with open_database(make_settings(stack.environment(url))) as database:
            assert await database.run(lambda c: c.fetchval("SELECT 1")) == 1


async def test_an_address_that_would_be_weaker_than_asked_is_refused(service: Service) -> None:
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    for name in ("database_url", "database_direct_url"):
        ended = await command(
            service, "migrate", **{name: f"{url}?sslmode=require&channel_binding=require"}
        )
        assert ended.status == 1
        assert f"ATTACHMENTS_{name.upper()}: asks for channel_binding" in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_keepalives_are_set_on_the_socket(database_url: str, loop: str) -> None:
    """The API and the worker use uvloop, whose sockets differ from those of asyncio."""

    async def read() -> tuple[int, int]:
        connection: Any = await Connector(f"{database_url}?keepalives_idle=33").connect()
        # `_transport` is private in asyncpg, but there is no public way to the socket.
        found = connection._transport.get_extra_info("socket")
        read = (
            found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        )
        await connection.close()
        return read

    def run() -> tuple[int, int]:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(read())

    assert await asyncio.to_thread(run) == (1, 33)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param(lambda url: f"{url}?sslmode=require", "does not speak TLS", id="TLS"),
        pytest.param(lambda url: f"{url}-none", "no database of that name", id="database"),
        pytest.param(lambda url: with_role(url, "nobody"), "the user or the password", id="role"),
        pytest.param(lambda url: f"{url}?work_mem=much", "the value of a setting", id="setting"),
        pytest.param(lambda url: f"{url}?search_path=none", "no such schema", id="schema"),
        pytest.param(
            lambda url: f"postgresql://u:secret-of-role@127.0.0.1:9/{url.rpartition('/')[2]}",
            "refuses connections",
            id="port",
        ),
        pytest.param(
            lambda _: "postgresql:///x?host=/nowhere&user=u", "no such socket", id="socket"
        ),
        pytest.param(lambda _: "postgresql://u@nowhere.invalid/x", "host is not known", id="host"),
    ],
)
async def test_commands_report_a_refusal_of_the_database_in_one_line(
    service: Service, change: Callable[[str], str], cause: str
) -> None:
    url = change(service.environment["ATTACHMENTS_DATABASE_URL"])
    ended = await command(service, "migrate", database_url=url)
    assert ended.status == 1
    [line] = ended.err.splitlines()
    assert line.startswith("attachments: ATTACHMENTS_DATABASE_URL: cannot be migrated: ")
    assert cause in line
    assert "secret-of-role" not in line
    # If the schema is missing, the command `usage` can connect and fails with another error.
    if cause != "no such schema":
        ended = await command(service, "usage", database_url=url)
        assert ended.status == 1
        [line] = ended.err.splitlines()
        assert cause in line


async def test_a_schema_of_its_own_is_used_throughout(
    stack: Stack, start_service: StartService
) -> None:
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS elsewhere")
    await connection.execute("CREATE DATABASE elsewhere")
    await connection.close()
    plain = stack.postgres.database_url("elsewhere")
    connection = await asyncpg.connect(plain)
    await connection.execute('CREATE SCHEMA "My App"')
    await connection.close()
    url = f"{plain}?schema=My%20App"
    await asyncio.to_thread(migrate, url)

    async with open_database(make_settings(stack.environment(url))) as database:
        where = "SELECT array_agg(DISTINCT table_schema::text) FROM information_schema.tables"
        where += " WHERE table_name IN ('attachments', 'alembic_version')"
        assert await database.run(lambda c: c.fetchval(where)) == ["My App"]
