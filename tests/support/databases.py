"""Databases for tests: each is cloned from one migrated database and has ids of its own."""

import itertools

import asyncpg
import redis.asyncio

from tests.support.stack import Stack

TEMPLATE = "template_attachments"

IDS_EACH = 100_000
"""The number of ids that each test has."""

_numbers = itertools.count(1)


def fresh_ids() -> int:
    """Return a first id that no other test uses, because all tests share one bucket."""
    return next(_numbers) * IDS_EACH


def ids_beside(attachment_id: int) -> range:
    """Return all ids that belong to the same test as an id."""
    first = attachment_id // IDS_EACH * IDS_EACH
    return range(first, first + IDS_EACH)


async def clone_database(stack: Stack) -> str:
    """Make a fresh migrated database with ids of its own, because all tests share one bucket."""
    first = fresh_ids()
    name = f"test_{first}"
    # Copying files costs half as much as PostgreSQL's default way, which writes everything to its
    # log.
    await stack.admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    url = stack.postgres.database_url(name)
    connection = await asyncpg.connect(url)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {first}")
    await connection.close()
    return url


async def drop_database(stack: Stack, url: str) -> None:
    """Delete a database, and close the connections that processes of the test still have to it.

    PostgreSQL starts a process for each database once a minute, to look for rows to clean up.
    """
    await stack.admin.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


async def use_deployment_of(stack: Stack, database_url: str) -> None:
    """Give a migrated database the deployment id that owns the tests' bucket."""
    async with (
        asyncpg.create_pool(stack.postgres.database_url(TEMPLATE), min_size=1) as template,
        asyncpg.create_pool(database_url, min_size=1) as own,
    ):
        await own.execute(
            "UPDATE deployment SET id = $1", await template.fetchval("SELECT id FROM deployment")
        )


async def empty_broker(stack: Stack) -> None:
    """Delete all messages that earlier tests have published to the broker."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        await client.flushdb()
