"""The servers of all benchmarks, and one migrated database."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from shared.schema import migrate
from tests.support.stack import Stack, running_stack

DATABASE = "benchmarks"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The servers and the database. `quick` is true if a rough figure is enough."""

    stack: Stack
    database_url: str
    quick: bool


@asynccontextmanager
async def running_site(*, quick: bool) -> AsyncIterator[Site]:
    """Start the servers in a temporary folder, and remove everything at the end."""
    with tempfile.TemporaryDirectory(prefix="attachments-bench-") as folder:
        async with running_stack(Path(folder)) as stack:
            connection = await asyncpg.connect(stack.postgres.url)
            await connection.execute(f"CREATE DATABASE {DATABASE}")
            await connection.close()
            database_url = stack.postgres.database_url(DATABASE)
            await asyncio.to_thread(migrate, database_url)
            yield Site(stack=stack, database_url=database_url, quick=quick)
