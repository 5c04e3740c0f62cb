"""Run the migrations under one advisory lock, so that several may be started side by side."""

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

LOCK_KEY = 7_236_013_482  # any number that no one else locks in this database


def migrate(connection: Connection) -> None:
    """Bring the schema to the head; a second run, or one side by side, finds nothing to do."""
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    try:
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
        connection.commit()


async def run() -> None:
    """Connect with the address that `shared.schema.migrate` was given."""
    # asyncpg reads the address, as everywhere else: SQLAlchemy understands fewer of its parameters.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(context.config.attributes["database_url"]),
        poolclass=NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
