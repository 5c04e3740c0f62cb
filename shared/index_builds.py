"""Build the indexes of a large table while other processes write to the table.

A migration runs in a transaction, and CREATE INDEX in a transaction blocks all writes to the table
until the transaction ends. So these indexes are built after the migrations, with CREATE INDEX
CONCURRENTLY. Until then the service works, but the lists that use the indexes are slow.
"""

import asyncio

import asyncpg

from shared.connector import Connector
from shared.jitter import spread
from shared.log import get_logger

POLL_S = 0.2
CONNECT_S = 10.0
UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

# Each index serves one filter of `shared.filters`.
INDEXES = {
    "attachments_by_time": "(organization_id, created_at, id) WHERE deleted_at IS NULL",
    **{
        f"attachments_by_{column}": (
            f"(organization_id, {column}, id) WHERE deleted_at IS NULL AND {column} IS NOT NULL"
        )
        for column in ("creator_id", "attachable_type", "external_id", "message_id")
    },
}
"""The indexes of `attachments`: each name with its columns and condition."""

# An index with indisvalid = false is being built, or its build was interrupted.
_STATE = """
    SELECT EXISTS (SELECT FROM pg_stat_progress_create_index AS p
                   WHERE p.relid = $2::text::regclass) AS building,
           coalesce(array_agg(c.relname::text) FILTER (WHERE i.indisvalid), '{}') AS valid,
           coalesce(array_agg(c.relname::text) FILTER (WHERE NOT i.indisvalid), '{}') AS invalid
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = $2::text::regclass AND c.relname = ANY ($1::text[])
"""

# Index names are qualified with the table's schema, because a pooler may refuse the search_path
# of the database address.
_SCHEMA = """
    SELECT quote_ident(n.nspname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = 'attachments'::regclass
"""

log = get_logger(__name__)


async def build_indexes(database_url: str) -> None:
    """Build the indexes that are missing or whose build was interrupted, one after the other.

    Several processes may call this at the same time: one builds, the others wait. A build waits for
    transactions that began earlier, but it blocks no write. Raises asyncpg's errors.
    """
    connector = Connector(database_url, dict.fromkeys(UNLIMITED, "0"))
    connection = await connector.connect(timeout_s=CONNECT_S)
    try:
        async with connection.transaction():
            if connector.pooled and "search_path" in connector.role_settings:
                path = connector.role_settings["search_path"]
                await connection.execute("SELECT set_config('search_path', $1, true)", path)
            schema = await connection.fetchval(_SCHEMA)
        while await _build_next(connection, schema):
            pass
    finally:
        await connection.close()


async def _build_next(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> bool:
    """Build one index, or wait if another process builds. Returns False if no index is missing."""
    found = await connection.fetchrow(_STATE, list(INDEXES), f"{schema}.attachments")
    assert found is not None
    missing = [name for name in INDEXES if name not in found["valid"]]
    if not missing:
        return False
    # Two concurrent builds on one table would wait for each other until one of them fails.
    if found["building"]:
        await asyncio.sleep(spread(POLL_S, 0.5))
        return True
    name = missing[0]
    try:
        if name in found["invalid"]:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
        log.info("index is being built", index=name)
        await connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {schema}.attachments"
            f" {INDEXES[name]}"
        )
    except asyncpg.DeadlockDetectedError:  # another process began a build at the same moment
        await asyncio.sleep(spread(POLL_S, 0.5))
    return True
