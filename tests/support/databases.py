"""Databases of tests: cloned from one that is migrated once, with ids that no other test uses."""

import itertools

import asyncpg
import redis.asyncio

from tests.support.stack import Stack

TEMPLATE = "template_attachments"

_numbers = itertools.count(1)


def fresh_ids() -> int:
    """Return an id from which on no test has used any: all tests share one bucket."""
    return next(_numbers) * 100_000


async def clone_database(stack: Stack) -> str:
    """Make a fresh migrated database, with ids of its own: all tests share one bucket."""
    first = fresh_ids()
    name = f"test_{first}"
    connection = await asyncpg.connect(stack.postgres.url)
    # Copying files costs half of what PostgreSQL's usual way through its log costs.
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    await connection.close()
    url = stack.postgres.database_url(name)
    connection = await asyncpg.connect(url)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {first}")
    await connection.close()
    return url


async def use_deployment_of(stack: Stack, database_url: str) -> None:
    """Return a migrated database the id of the deployment that has the tests' bucket."""
    async with (
        asyncpg.create_pool(stack.postgres.database_url(TEMPLATE), min_size=1) as template,
        asyncpg.create_pool(database_url, min_size=1) as own,
    ):
        await own.execute(
            "UPDATE deployment SET id = $1", await template.fetchval("SELECT id FROM deployment")
        )


async def empty_broker(stack: Stack) -> None:
    """Forget what earlier tests have published."""
    async with redis.asyncio.from_url(stack.valkey.url) as client:
        await client.flushdb()
