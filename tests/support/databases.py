"""Databases for tests: each is a clone of one migrated database and has its own range of ids."""

import itertools

import asyncpg
import redis.asyncio

from tests.support.stack import Stack

TEMPLATE = "template_attachments"

IDS_EACH = 100_000
"""The number of attachment ids that are reserved for each test."""

_numbers = itertools.count(1)


def fresh_ids() -> int:
    """Return the first attachment id of a range that no other test uses.

    The ids of two tests must differ, because all tests share one bucket.
    """
    return next(_numbers) * IDS_EACH


def ids_beside(attachment_id: int) -> range:
    """Return all ids that are reserved for the test to which this attachment id belongs."""
    first = attachment_id // IDS_EACH * IDS_EACH
    return range(first, first + IDS_EACH)


async def clone_database(stack: Stack) -> str:
    """Make a fresh migrated database with its own range of ids, and return its address.

    The ids of two tests must differ, because all tests share one bucket.
    """
    first = fresh_ids()
    name = f"test_{first}"
    # PostgreSQL's default strategy writes all data to the log (WAL). Copying files costs half as
    # much.
    await stack.admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    url = stack.postgres.database_url(name)
    connection = await asyncpg.connect(url)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {first}")
    await connection.close()
    return url


async def drop_database(stack: Stack, url: str) -> None:
    """Delete a database, and close all connections that are still open to it.

    A database that is not deleted costs time: PostgreSQL starts an autovacuum process for each
    database once a minute.
    """
    await stack.admin.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


async def use_deployment_of(stack: Stack, database_url: str) -> None:
    """Write the deployment id that owns the tests' bucket into a migrated database."""
    async with (
        asyncpg.create_pool(stack.postgres.database_url(TEMPLATE), min_size=1) as template,
        asyncpg.create_pool(database_url, min_size=1) as own,
    ):
        await own.execute(
            "UPDATE deployment SET id = $1", await template.fetchval("SELECT id FROM deployment")
        )


async def empty_broker(stack: Stack) -> None:
    """Delete all messages at the broker that earlier tests have published."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        await client.flushdb()
