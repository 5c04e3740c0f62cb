"""Run the migrations under one advisory lock, so that several processes may start them at once.

All migrations run in one transaction, so a pooler keeps them in one session.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from uuid import uuid4

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.connector import Connector
from shared.schema import NotUtf8

LOCK_KEY = 7_236_013_482  # an arbitrary number that no other advisory lock uses


CONNECT_S = 10.0

# The time limits of the role are meant for short statements, so the migrations remove these limits.
# A statement does this, because a pooler refuses such settings when a connection is opened.
UNLIMITED = """
    SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
     'transaction_timeout')
"""
ENCODING = """
    SELECT current_setting('server_encoding') WHERE to_regclass('alembic_version') IS NULL
"""


def migrate(connection: Connection, connector: Connector) -> None:
    """Migrate the schema to the newest revision. If it has that revision already, nothing changes.

    Raises NotUtf8 if the database has no schema yet and another encoding than UTF8. A database that
    has a schema is migrated in any encoding.
    """
    with connection.begin():
        if connector.pooled:
            _set_as_asked(connection, connector.role_settings)
        connection.execute(text(UNLIMITED))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        encoding = connection.execute(text(ENCODING)).scalar_one_or_none()
        if encoding not in (None, "UTF8"):
            raise NotUtf8(encoding)
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()


def _set_as_asked(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set the session settings that a pooler refused, such as search_path, for this transaction.

    Settings that PostgreSQL itself does not know are left out.
    """
    for name, value in settings.items():
        with suppress(DBAPIError), connection.begin_nested():
            connection.execute(
                text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value}
            )


async def run() -> None:
    """Connect to the address that `shared.schema.migrate` was called with, and migrate."""
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    connector = Connector(context.config.attributes["database_url"], dict.fromkeys(limits, "0"))
    # asyncpg parses the address, as in the service. SQLAlchemy knows fewer of the address's
    # parameters.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connector.connect(timeout_s=CONNECT_S),
        poolclass=NullPool,
        connect_args={
            # A pooler may share sessions, so no two processes may use the same statement names.
            "prepared_statement_name_func": lambda: f"migrate_{uuid4().hex}",
            "prepared_statement_cache_size": 0,
        },
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate, connector)
    await engine.dispose()


asyncio.run(run())
