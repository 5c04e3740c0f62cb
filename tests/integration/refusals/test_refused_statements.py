"""PostgreSQL refuses statements: clients get 503, and one line without traceback is logged."""

import asyncpg
import pytest

from shared.database import Connection, DatabaseAway, DatabaseForbids, open_database
from shared.refusals import TABLE
from tests.support.roles import with_role
from tests.support.service import Service, make_settings, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"

CREATE = {"data": {"type": "attachments", "attributes": {"name": "img.png"}}}


@pytest.mark.parametrize("code", sorted(code if len(code) == 5 else f"{code}000" for code in TABLE))
async def test_every_refusal_has_a_cause_and_a_remedy(stack: Stack, code: str) -> None:
    async def fail(connection: Connection) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    async with open_database(make_settings(stack.environment(stack.postgres.url))) as database:
        with pytest.raises(DatabaseAway) as caught:
            await database.run(fail)
    refusal = caught.value.refusal
    assert refusal is not None
    assert (refusal.cause, refusal.mend) == (TABLE.get(code) or TABLE[code[:2]])
    assert str(caught.value) == f"{refusal.cause} ({code}): {refusal.mend}"


@pytest.mark.parametrize("code", ["23505", "42601", "22012"])
async def test_a_bug_of_ours_stays_one(stack: Stack, code: str) -> None:
    async def fail(connection: Connection) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    async with open_database(make_settings(stack.environment(stack.postgres.url))) as database:
        with pytest.raises(asyncpg.PostgresError):
            await database.run(fail)


async def assert_refused(service: Service, cause: str) -> None:
    """Assert that requests and the readiness check get 503, and that the log names the cause."""
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


async def test_a_missing_privilege_is_distinguished(
    stack: Stack, owner: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    settings = make_settings(stack.environment(with_role(database_url, "guest")))
    async with open_database(settings) as database:
        with pytest.raises(DatabaseForbids):
            await database.run(lambda c: c.fetchval("SELECT count(*) FROM tokens"))
