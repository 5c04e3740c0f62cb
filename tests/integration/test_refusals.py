"""What PostgreSQL refuses: 503 for clients, one line for operators, and no traceback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
import uvloop

from shared.connector import Connector
from shared.database import Connection, DatabaseAway, DatabaseForbids, open_database
from shared.refusals import TABLE
from shared.schema import NotMigrated, migrate
from tests.support.commands import command
from tests.support.proxy import running_proxy
from tests.support.service import Service, make_settings, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"
CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}
EMOJI = {"data": {"type": "attachments", "attributes": {"name": "🦊.png"}}}

MANY_WORDS = (
    "connect_timeout=10&application_name=mine&keepalives_idle=30&tcp_user_timeout=9000"
    "&channel_binding=prefer&gssencmode=prefer&sslmode=prefer&target_session_attrs=read-write"
    "&connection_limit=5&pool_timeout=2&schema=public&unheard_of=1&work_mem=8MB&pgbouncer=false"
)


def with_role(url: str, role: str) -> str:
    """Give an address with another role, whose password is `secret-of-role`."""
    parts = urlsplit(url)
    return parts._replace(
        netloc=f"{role}:secret-of-role@{parts.netloc.rpartition('@')[2]}"
    ).geturl()


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner of the database, beside a role `guest` without any privilege."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'secret-of-role'")
    yield connection
    await connection.execute("DROP OWNED BY guest; DROP ROLE guest")
    await connection.close()


# --- addresses --------------------------------------------------------------------------------


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
    """uvloop, which the API and the worker run on, gives out sockets of its own kind."""

    async def read() -> tuple[int, int]:
        connection: Any = await Connector(f"{database_url}?keepalives_idle=33").connect()
        # private in asyncpg, which shows its socket nowhere else
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
async def test_commands_tell_in_one_line_why_the_database_refuses(
    service: Service, change: Callable[[str], str], cause: str
) -> None:
    url = change(service.environment["ATTACHMENTS_DATABASE_URL"])
    ended = await command(service, "migrate", database_url=url)
    assert ended.status == 1
    [line] = ended.err.splitlines()
    assert line.startswith("attachments: ATTACHMENTS_DATABASE_URL: cannot be migrated: ")
    assert cause in line
    assert "secret-of-role" not in line
    if cause != "no such schema":  # reading works without one, until a table is looked for
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


# --- what the server refuses -------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(code if len(code) == 5 else f"{code}000" for code in TABLE))
async def test_every_refusal_has_a_cause_and_a_remedy(
    stack: Stack, database_url: str, code: str
) -> None:
    async def fail(connection: Connection) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    async with open_database(make_settings(stack.environment(database_url))) as database:
        with pytest.raises(DatabaseAway) as caught:
            await database.run(fail)
    refusal = caught.value.refusal
    assert refusal is not None
    assert (refusal.cause, refusal.mend) == (TABLE.get(code) or TABLE[code[:2]])
    assert str(caught.value) == f"{refusal.cause} ({code}): {refusal.mend}"


@pytest.mark.parametrize("code", ["23505", "42601", "22012"])
async def test_a_bug_of_ours_stays_one(stack: Stack, database_url: str, code: str) -> None:
    async def fail(connection: Connection) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    async with open_database(make_settings(stack.environment(database_url))) as database:
        with pytest.raises(asyncpg.PostgresError):
            await database.run(fail)


async def assert_refused(service: Service, cause: str) -> None:
    """Assert that requests and the probe of readiness are 503, and that the log has the cause."""
    api = ApiProcess(service.environment)
    try:
        await api.start()
        client = service.client
        client.base_url = api.url
        for method, path, body in (
            ("POST", PATH, CREATE),
            ("GET", PATH, None),
            ("GET", "/health/ready", None),
        ):
            for _ in range(3):
                answer = await client.request(method, path, body)
                assert answer.status == 503, (path, answer.body)
                [error] = answer.document["errors"]
                assert error["status"] == "503"
                assert answer.headers["Retry-After"]
        assert (await client.request("GET", "/health/live")).status == 200

        async def logged() -> bool:
            return cause in api.log()

        await until(logged)
        assert "Traceback" not in api.log()
        assert "unexpected error" not in api.log()
    finally:
        api.close()


@pytest.mark.parametrize(
    ("setup", "cause"),
    [
        pytest.param("SELECT 1", "the role lacks a privilege", id="no grants"),
        pytest.param("REVOKE ALL ON SCHEMA public FROM public", "cannot see them", id="no usage"),
        pytest.param("ALTER ROLE guest CONNECTION LIMIT 0", "no connection left", id="limit"),
        pytest.param("ALTER ROLE guest NOLOGIN", "refuses the user", id="no login"),
        pytest.param(
            "ALTER ROLE guest PASSWORD 'other'", "the user or the password", id="password"
        ),
        pytest.param(
            "ALTER ROLE guest SET search_path = none", "search_path must", id="search_path"
        ),
    ],
)
async def test_a_role_that_may_not_serve_is_503_with_its_cause_in_the_log(
    start_service: StartService,
    owner: "asyncpg.Connection[asyncpg.Record]",
    database_url: str,
    setup: str,
    cause: str,
) -> None:
    await owner.execute(setup)
    service = await start_service(database_url=with_role(database_url, "guest"))
    await assert_refused(service, cause)


async def test_a_database_without_tables_is_503_and_names_the_command(
    start_service: StartService, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    service = await start_service()
    await owner.execute("DROP TABLE attachments, tokens CASCADE")
    await assert_refused(service, "attachments migrate")


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
        "ALTER TABLE attachments RENAME limit_size TO other",  # as before a migration
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


async def test_a_missing_privilege_is_told_apart(
    stack: Stack, owner: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    settings = make_settings(stack.environment(with_role(database_url, "guest")))
    async with open_database(settings) as database:
        with pytest.raises(DatabaseForbids):
            await database.run(lambda c: c.fetchval("SELECT count(*) FROM tokens"))


# --- migrations --------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def empty(stack: Stack) -> AsyncIterator[str]:
    """An empty database that the role `guest` may connect to."""
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
async def test_migrate_tells_what_the_role_may_not_do(
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


# --- encodings ---------------------------------------------------------------------------------


async def make_database(stack: Stack, encoding: str) -> str:
    """Make an empty database with an encoding."""
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


async def test_a_name_that_an_old_database_cannot_hold_is_told_to_the_client(
    stack: Stack, start_service: StartService
) -> None:
    url = await make_database(stack, "LATIN1")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    await connection.close()
    await asyncio.to_thread(migrate, url)
    service = await start_service(database_url=url)
    connection = await asyncpg.connect(url)  # the fixture's organization is in another database
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
