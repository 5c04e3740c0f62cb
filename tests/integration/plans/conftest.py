"""Fixtures of the tests of query plans: a database with a million attachments, filled once."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from shared.database import SERVER_SETTINGS
from tests.support.databases import clone_database, drop_database
from tests.support.explaining import Explaining
from tests.support.million import FILL, FURTHER, LETTERS, ROWS, TOKENS
from tests.support.stack import Stack

INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'attachments' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


@pytest_asyncio.fixture(scope="package")
async def filled(stack: Stack) -> AsyncIterator[str]:
    """Fill a database with a million attachments, and return its address."""
    database_url = await clone_database(stack)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO organizations (id, name) SELECT n, 'o' FROM generate_series(1, 200) AS n"
    )
    await connection.execute("SELECT setval('organizations_id_seq', 200)")
    await connection.execute(
        "INSERT INTO tokens (organization_id, name, digest)"
        f" SELECT 1 + n % 200, 't', sha256(n::text::bytea) FROM generate_series(1, {TOKENS}) AS n"
    )
    await connection.execute(
        "INSERT INTO dead_letters (digest, body, size, source, origin, reason, last_at)"
        " SELECT sha256(n::text::bytea), 'x', 1, 'webhook', 'o' || n % 50, 'r',"
        "        now() - n * interval '1 second'"
        f" FROM generate_series(1, {LETTERS}) AS n"
    )
    for statement in FURTHER:
        await connection.execute(statement)
    # VACUUM marks a page as all-visible only if the commit of its rows is on disk.
    await connection.execute("SET synchronous_commit = on")
    # It is twice as fast to build the indexes after all rows are inserted.
    indexes = await connection.fetch(INDEXES)
    for name, _ in indexes:
        await connection.execute(f"DROP INDEX {name}")
    await connection.execute(FILL)
    for _, definition in indexes:
        await connection.execute(definition)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {ROWS + 1}")
    await connection.execute(
        "VACUUM ANALYZE attachments, tokens, organizations, dead_letters, dead_letter_origins,"
        " idempotency_keys, webhooks, webhook_deliveries"
    )
    await connection.close()
    yield database_url
    await drop_database(stack, database_url)


@pytest_asyncio.fixture
async def connection(filled: str) -> AsyncIterator[Explaining]:
    """Open a connection with the service's settings. Roll back its changes after the test."""
    plain = await asyncpg.connect(
        filled, server_settings={**SERVER_SETTINGS, "statement_timeout": "30000"}
    )
    transaction = plain.transaction()
    await transaction.start()
    yield Explaining(plain)
    await transaction.rollback()
    await plain.close()
