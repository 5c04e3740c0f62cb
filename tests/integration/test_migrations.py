"""Migrations: repeated, in parallel, and with any rows in the table."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from shared.schema import NotMigrated, migrate
from tests.support.stack import Stack

NAME = "test_migrations"


@pytest_asyncio.fixture
async def empty_url(stack: Stack) -> AsyncIterator[str]:
    """Create an empty database, and return its address."""
    connection = await asyncpg.connect(stack.postgres.url)
    await connection.execute(f"CREATE DATABASE {NAME}")
    yield stack.postgres.database_url(NAME)
    await connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    await connection.close()


async def schema(database_url: str) -> dict[str, Any]:
    """Return the tables, columns, indexes, constraints, functions and triggers of a database as
    text.
    """
    connection = await asyncpg.connect(database_url)
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "constraints": "SELECT conrelid::regclass::text, pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "triggers": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "version": "SELECT version_num FROM alembic_version",
    }
    found = {
        name: [tuple(row) for row in await connection.fetch(query)]
        for name, query in queries.items()
    }
    await connection.close()
    return found


async def locks(database_url: str) -> int:
    """Return the number of advisory locks that sessions hold in a database."""
    connection = await asyncpg.connect(database_url)
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await connection.close()
    return count


async def test_a_second_run_finds_nothing_to_do(empty_url: str) -> None:
    await asyncio.to_thread(migrate, empty_url)
    first = await schema(empty_url)
    assert {table for table, *_ in first["columns"]} == {
        "alembic_version",
        "attachments",
        "attachments_backlog",
        "backlog_sample",
        "dead_letter_origins",
        "dead_letters",
        "deployment",
        "idempotency_keys",
        "organizations",
        "probe_arrivals",
        "tokens",
        "usage",
        "webhook_deliveries",
        "webhooks",
        "waiting",
    }
    assert len(first["version"]) == 1
    await asyncio.to_thread(migrate, empty_url)
    assert await schema(empty_url) == first
    assert await locks(empty_url) == 0


async def test_several_may_be_started_side_by_side(empty_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=migrate, args=(empty_url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, 60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert len((await schema(empty_url))["version"]) == 1
    assert await locks(empty_url) == 0


async def test_a_migration_keeps_the_rows_of_the_tables(empty_url: str) -> None:
    await asyncio.to_thread(migrate, empty_url)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO organizations (name) VALUES ('kept')")
    await asyncio.to_thread(migrate, empty_url)
    assert await connection.fetchval("SELECT name FROM organizations") == "kept"
    await connection.close()


async def test_every_column_of_attachments_has_a_comment(empty_url: str) -> None:
    await asyncio.to_thread(migrate, empty_url)
    connection = await asyncpg.connect(empty_url)
    rows = await connection.fetch(
        "SELECT attname, col_description(attrelid, attnum) AS comment FROM pg_attribute"
        " WHERE attrelid = 'attachments'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert {"id", "copy_bytes"} <= {row["attname"] for row in rows}
    assert [row["attname"] for row in rows if not row["comment"]] == []
    await connection.close()


async def test_tokens_of_the_previous_release_never_end_and_may_do_everything(
    empty_url: str,
) -> None:
    insert = "INSERT INTO tokens (organization_id, name, digest) VALUES (1, 'old', $1)"
    await asyncio.to_thread(migrate, empty_url, "0002")
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO organizations (name) VALUES ('old')")
    await connection.execute(insert, b"before")
    await asyncio.to_thread(migrate, empty_url)
    await connection.execute(insert, b"while the previous release still runs")
    rows = await connection.fetch("SELECT scope, expires_at, last_used_at FROM tokens")
    assert [tuple(row) for row in rows] == [("admin", None, None)] * 2
    await connection.close()


async def test_dead_letters_of_the_previous_release_are_counted(empty_url: str) -> None:
    insert = (
        "INSERT INTO dead_letters (digest, body, size, source, origin, reason)"
        " VALUES ($1, $1, length($1::bytea), 'webhook', $2, 'r')"
    )
    await asyncio.to_thread(migrate, empty_url, "0006")
    connection = await asyncpg.connect(empty_url)
    for number in range(3):
        await connection.execute(insert, b"before %d" % number, f"o{number % 2}")
    await asyncio.to_thread(migrate, empty_url)
    await connection.execute(insert, b"after", "o1")
    counted = "SELECT origin, letters, bytes FROM dead_letter_origins ORDER BY origin"
    assert [tuple(row) for row in await connection.fetch(counted)] == [
        ("", 4, 29),
        ("o0", 2, 16),
        ("o1", 2, 13),
    ]
    await connection.execute("DELETE FROM dead_letters WHERE origin = 'o1'")
    assert [tuple(row) for row in await connection.fetch(counted)] == [("", 2, 16), ("o0", 2, 16)]
    await connection.execute("TRUNCATE dead_letters")
    assert [tuple(row) for row in await connection.fetch(counted)] == [("", 0, 0)]
    await connection.close()


@pytest.mark.parametrize("end", ["infinity", "-infinity"])
async def test_a_token_ends_at_a_time_or_never(empty_url: str, end: str) -> None:
    await asyncio.to_thread(migrate, empty_url)
    connection = await asyncpg.connect(empty_url)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "INSERT INTO tokens (organization_id, name, digest, expires_at)"
            f" VALUES (1, 'a', 'a', '{end}')"
        )
    await connection.close()


async def test_a_run_waits_for_no_lock_for_long(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    await asyncio.to_thread(migrate, empty_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE attachments IN ACCESS SHARE MODE")
        await asyncio.wait_for(asyncio.to_thread(migrate, empty_url), 30)
    await connection.close()


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param("CREATE TABLE organizations (id integer)", id="table"),
        pytest.param("CREATE VIEW tokens AS SELECT 1 AS id", id="view"),
        pytest.param("CREATE SEQUENCE usage", id="sequence"),
        pytest.param("CREATE TYPE deployment AS ENUM ('blue')", id="type"),
    ],
)
async def test_table_names_of_another_program_are_reported_and_nothing_is_changed(
    empty_url: str, foreign: str
) -> None:
    connection = await asyncpg.connect(empty_url)
    await connection.execute(foreign)
    with pytest.raises(NotMigrated, match="of another program have the names of ours"):
        await asyncio.to_thread(migrate, empty_url)
    assert await connection.fetchval("SELECT to_regclass('alembic_version')") is None
    await connection.close()


RENAMED = {
    "broken": "damaged",
    "truncated": "damaged",
    "too_many_pixels": "too_expensive",
    "too_many_scans": "too_expensive",
    "decoder_timeout": "too_expensive",
    "decoder_memory": "too_expensive",
}


async def test_rejected_files_are_kept(
    empty_url: str,
) -> None:
    died, left = ("failed", "decoder_died"), ("uploaded", "decoder_died")
    same = [
        ("ready", None),
        ("ready", "encrypted"),
        ("rejected", "too_large"),
        ("rejected", "reserved_type"),
        ("failed", "store_unavailable"),
        left,
    ]
    old = [*(("rejected", code) for code in RENAMED), ("ready", "broken")]
    renamed = [("ready", RENAMED[code]) for _, code in old]
    await asyncio.to_thread(migrate, empty_url, "0008")
    connection = await asyncpg.connect(empty_url)

    async def found() -> list[tuple[Any, ...]]:
        rows = await connection.fetch("SELECT state, reason FROM attachments ORDER BY id")
        return [tuple(row) for row in rows]

    await connection.execute("INSERT INTO organizations (name) VALUES ('old')")
    await connection.executemany(
        "INSERT INTO attachments (organization_id, name, file_name, bucket, state, reason,"
        " policy_expires_at) VALUES (1, 'a', 'a', 'b', $1, $2, now())",
        [*old, *same, died],
    )
    await asyncio.to_thread(migrate, empty_url)
    # The last row failed because a decoder died. The migration lets it be processed again.
    assert await found() == [*renamed, *same, ("uploaded", None)]
    due = "SELECT due_at <= now() AND revision = 1 FROM attachments ORDER BY id DESC LIMIT 1"
    assert await connection.fetchval(due)
    # A worker of the previous release may still run, and writes the old states and reasons.
    for number, (state, reason) in enumerate([*old, *same, died], 1):
        await connection.execute(
            "UPDATE attachments SET state = $2, reason = $3 WHERE id = $1", number, state, reason
        )
    assert await found() == [*renamed, *same, died]
    await connection.close()
