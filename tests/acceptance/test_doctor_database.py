"""`attachments doctor` checks PostgreSQL: its address, pooler, encoding and privileges."""

from pathlib import Path

import asyncpg
import pytest

from tests.support.doctor import environment, examine
from tests.support.pgbouncer import needs_pgbouncer, running_pgbouncer
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

ALL = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk"


async def test_words_without_an_effect_are_a_warning_that_names_them(
    working: Service, database_url: str
) -> None:
    url = f"{database_url}?connection_limit=5&unheard_of=1&connect_timeout=10&work_mem=8MB"
    examined = await examine(environment(working, database_url=url), wait=1)
    assert examined["database"]["status"] == "warning"
    assert "connection_limit, unheard_of" in examined["database"]["found"]
    assert "work_mem" not in examined["database"]["found"]
    assert examined["schema"]["status"] == "ok"


@pytest.mark.parametrize(
    ("revoked", "missing"),
    [
        pytest.param("DELETE ON tokens", "DELETE on tokens", id="a table"),
        pytest.param(
            "UPDATE ON usage, attachments",
            "UPDATE on attachments, UPDATE on usage",
            id="two tables",
        ),
    ],
)
async def test_missing_privileges_are_named(
    working: Service, database_url: str, revoked: str, missing: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE ROLE clerk LOGIN PASSWORD 'clerk'; {ALL}")
    await connection.execute(f"REVOKE {revoked} FROM clerk")
    try:
        url = f"postgresql://clerk:clerk@{database_url.partition('@')[2]}"
        examined = await examine(environment(working, database_url=url), wait=1)
        assert examined["upload"]["status"] == "failed"
        assert examined["upload"]["found"].endswith(f"lacks privileges: {missing}")
    finally:
        await connection.execute("DROP OWNED BY clerk; DROP ROLE clerk")
        await connection.close()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        pytest.param("53100", "the disk of PostgreSQL is full", id="disk"),
        pytest.param("55P03", "a lock was not free in time", id="lock"),
        pytest.param("25006", "PostgreSQL is read-only", id="read-only"),
    ],
)
async def test_a_write_that_fails_is_found_before_an_upload_is_made(
    working: Service, database_url: str, code: str, cause: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE SQLSTATE '{code}'; END $$;"
        "CREATE TRIGGER refuses BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    examined = await examine(environment(working, database_url=database_url), wait=1)
    assert examined["upload"]["status"] == "failed"
    assert cause in examined["upload"]["found"]
    assert await connection.fetchval("SELECT count(*) FROM attachments") == 0
    await connection.close()


async def test_another_encoding_than_utf8_fails(stack: Stack, working: Service) -> None:
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute("DROP DATABASE IF EXISTS latin")
    await connection.execute(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"
    )
    await connection.close()
    url = stack.postgres.database_url("latin")
    examined = await examine(environment(working, database_url=url), wait=1)
    assert examined.named("failed") == ["database"]
    assert "encoding LATIN1" in examined["database"]["found"]
    assert "UTF8" in examined["database"]["mend"]


@needs_pgbouncer
async def test_a_service_with_pgbouncer_is_healthy_and_warned_until_its_role_has_settings(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path, database_url: str
) -> None:
    async with running_pgbouncer(tmp_path, database_url, mode="transaction") as bouncer:
        url = bouncer.url(database_url)
        service = await start_service(database_url=url)
        await start_worker(service)
        examined = await examine(environment(service))
        assert examined.named("failed") == []
        assert examined["database"]["status"] == "warning"
        without_effect = "settings of the session have no effect: statement_timeout, lock_timeout"
        assert without_effect in examined["database"]["found"]
        assert "ATTACHMENTS_DATABASE_DIRECT_URL" in examined["database"]["mend"]

    name = database_url.rpartition("/")[2]
    connection = await asyncpg.connect(database_url)
    for setting in (
        "statement_timeout = 5000",
        "lock_timeout = 2000",
        "jit = off",
        "idle_in_transaction_session_timeout = 10000",
    ):
        await connection.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting}")
    again = tmp_path / "again"
    again.mkdir()
    async with running_pgbouncer(again, database_url, mode="transaction") as bouncer:
        examined = await examine(
            environment(
                service, database_url=bouncer.url(database_url), database_direct_url=database_url
            ),
            wait=1,
        )
        assert examined["database"]["status"] == "ok"
    await connection.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")
    await connection.close()
