"""`attachments doctor` reports what is wrong with an unusable database or its schema."""

import asyncpg
import pytest

from tests.support.doctor import environment, examine
from tests.support.service import Service


async def test_a_database_that_is_down_leaves_the_rest_to_be_examined(
    working: Service, closed_port: int
) -> None:
    url = f"postgresql://attachments:a-password@127.0.0.1:{closed_port}/attachments"
    examined = await examine(environment(working, database_url=url))
    assert examined.named("failed") == ["database"]
    found = f"PostgreSQL at 127.0.0.1:{closed_port} cannot be reached: connection refused"
    assert examined["database"]["found"] == found
    assert examined["schema"]["found"] == "needs database, which failed"
    assert examined["upload"]["found"] == "needs schema, which was skipped"
    assert {"broker", "worker", "store", "clocks", "api"} <= set(examined.named("ok"))


async def test_a_wrong_password_of_the_database_is_named_but_not_shown(working: Service) -> None:
    url = working.environment["ATTACHMENTS_DATABASE_URL"]
    examined = await examine(
        environment(working, database_url=url.replace("attachments:", "attachments:wrong-", 1))
    )
    assert "refuses the user or the password" in examined["database"]["found"]


async def test_a_database_that_does_not_exist_is_named_so(working: Service) -> None:
    url = working.environment["ATTACHMENTS_DATABASE_URL"].rpartition("/")[0]
    examined = await examine(environment(working, database_url=f"{url}/nowhere"))
    assert "no database of that name" in examined["database"]["found"]


async def test_a_database_that_may_not_be_written_to_fails(
    working: Service, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.close()
    examined = await examine(environment(working, database_url=database_url))
    assert examined.named("failed") == ["database"]
    assert "read-only" in examined["database"]["found"]


async def test_missing_privileges_of_the_database_user_are_reported(
    working: Service, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP ROLE IF EXISTS reader")
    await connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-password'")
    await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    await connection.close()
    host = database_url.partition("@")[2]
    url = f"postgresql://reader:reader-password@{host}"
    examined = await examine(environment(working, database_url=url))
    assert "upload" in examined.named("failed")
    assert "lacks privileges" in examined["upload"]["found"]
    assert "grant" in examined["upload"]["mend"]


@pytest.mark.parametrize(
    ("version", "found", "mend"),
    [
        pytest.param(None, "no schema", "attachments migrate", id="empty"),
        pytest.param("0001", "is needed", "attachments migrate", id="behind"),
        pytest.param("9999", "unknown", "version", id="ahead"),
    ],
)
async def test_a_schema_of_another_version_fails(
    working: Service, database_url: str, version: str | None, found: str, mend: str
) -> None:
    connection = await asyncpg.connect(database_url)
    if version is None:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    else:
        await connection.execute("UPDATE alembic_version SET version_num = $1", version)
    await connection.close()
    examined = await examine(environment(working, database_url=database_url))
    assert examined.named("failed") == ["schema"]
    assert found in examined["schema"]["found"]
    assert mend in examined["schema"]["mend"]
    assert examined["removal"]["status"] == "skipped"
