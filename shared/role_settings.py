"""Set session settings on the database role, for poolers that refuse settings of their clients."""

from collections.abc import Mapping

import asyncpg

from shared.connector import UNKNOWN_SETTING, Connector
from shared.database import SERVER_SETTINGS, Connection, DatabaseAway
from shared.refusals import explain

CONNECT_S = 10.0

LOCK_KEY = 7_236_013_483  # an arbitrary number that no other advisory lock uses


async def set_on_role(database_url: str) -> list[str]:
    """Find the settings that a pooler refuses, and set them on the service's database role.

    They apply to this database only. Returns the names of the settings, or an empty list if there
    is no pooler. Several processes may call this at once; it may be repeated. A session reads these
    settings when it begins, so the sessions that the pooler has open do not change. Raises
    DatabaseAway.
    """
    connector = Connector(database_url, SERVER_SETTINGS)
    try:
        connection = await connector.connect(timeout_s=CONNECT_S)
        try:
            if not connector.pooled:
                return []
            async with connection.transaction():
                # Only one process at a time: PostgreSQL answers two concurrent changes with "tuple
                # concurrently updated" or a duplicate key.
                await connection.execute("SELECT pg_advisory_xact_lock($1::bigint)", LOCK_KEY)
                return [
                    name
                    for name, value in connector.role_settings.items()
                    if await _set(connection, name, value)
                ]
        finally:
            connection.terminate()
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    ) as error:
        raise DatabaseAway(explain(error, connector.server)) from error


async def _set(connection: Connection, name: str, value: str) -> bool:
    """Set one setting on the role. Returns False if PostgreSQL does not know the setting."""
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    try:
        async with connection.transaction():
            # FROM CURRENT copies the session's value. A text would be wrong for a list such as
            # search_path: ALTER ROLE would read it as one element.
            await connection.execute("SELECT set_config($1, $2, true)", name, value)
            await connection.execute(
                f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET {quoted} FROM CURRENT"
            )
    except asyncpg.PostgresError as error:
        if error.sqlstate not in UNKNOWN_SETTING:
            raise
        return False
    return True


async def find_missing(connection: Connection, wanted: Mapping[str, str]) -> list[str]:
    """List the settings whose value in this session is not the wanted value.

    Settings that PostgreSQL does not know, or whose wanted value it refuses, are left out.
    """
    missing = []
    for name, value in wanted.items():
        found = await connection.fetchval("SELECT current_setting($1, true)", name)
        if found is None:
            continue
        transaction = connection.transaction()
        await transaction.start()
        try:
            # PostgreSQL shows a value in its own form, such as 5s for 5000. So PostgreSQL must also
            # convert the wanted value, before the two values are compared.
            meant = await connection.fetchval("SELECT set_config($1, $2, true)", name, value)
        except asyncpg.PostgresError:
            continue
        finally:
            await transaction.rollback()
        if found != meant:
            missing.append(name)
    return missing
