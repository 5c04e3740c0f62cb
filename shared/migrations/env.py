"""Run the migrations under one advisory lock, so that several processes may start them at once.

All migrations run in one transaction, which a pooler keeps in one session.
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

LOCK_KEY = 7_236_013_482  # any number that no one else locks in this database


CONNECT_S = 10.0

# The limits of the role are for short statements; a pooler does not lift them.
UNLIMITED = """
    SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
     'transaction_timeout')
"""
ENCODING = """
    SELECT current_setting('server_encoding') WHERE to_regclass('alembic_version') IS NULL
"""


def migrate(connection: Connection, connector: Connector) -> None:
    """Bring the schema to the head; a second or a concurrent run finds nothing to do.

    Raises NotUtf8 for a database of another encoding without a schema. A database that has a schema
    is migrated in any encoding.
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
    """Set for this transaction the settings that a pooler refused, such as search_path.

    Settings that PostgreSQL itself does not know are left out.
    """
    for name, value in settings.items():
        with suppress(DBAPIError), connection.begin_nested():
            connection.execute(
                text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value}
            )


async def run() -> None:
    """Connect with the address that was passed to `shared.schema.migrate`."""
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    connector = Connector(context.config.attributes["database_url"], dict.fromkeys(limits, "0"))
    # asyncpg reads the address, as everywhere else: SQLAlchemy understands fewer of its parameters.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connector.connect(timeout_s=CONNECT_S),
        poolclass=NullPool,
        connect_args={
            # If there is a pooler, no other process may use the same names of statements.
            "prepared_statement_name_func": lambda: f"migrate_{uuid4().hex}",
            "prepared_statement_cache_size": 0,
        },
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate, connector)
    await engine.dispose()


asyncio.run(run())
