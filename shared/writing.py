"""Check whether the service may write to the database, without a lasting change."""

import time

from shared.database import Connection, Database, DatabaseAway, Full
from shared.probes import ORGANIZATION
from shared.refusals import DISK_FULL, TABLE, Refusal

TRY_EVERY_S = 5.0
"""Minimum number of seconds between two test writes after the disk was full."""

# This statement changes no row, locks no row, and writes nothing to the WAL. But PostgreSQL checks
# that the server is writable, that the tables have these columns, and that the role may change
# them. Tokens and organizations are included because every create request reads them.
_ASK = """
    WITH made AS (
        INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at)
        SELECT 0, '', '', '', now() WHERE false RETURNING 1
    ), changed AS (
        UPDATE attachments SET attempt = attempt, limit_size = limit_size WHERE false RETURNING 1
    )
    SELECT 1 FROM (VALUES (1)) AS one LEFT JOIN (
        tokens AS t JOIN organizations AS o ON o.id = t.organization_id AND o.quota_bytes = 0
    ) ON false
"""

TABLES = (
    "attachments",
    "backlog_sample",
    "dead_letter_origins",
    "dead_letters",
    "deployment",
    "organizations",
    "probe_arrivals",
    "tokens",
    "usage",
)
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def ask(connection: Connection) -> None:
    """Check that attachments may be written. Raises asyncpg's errors if that is not allowed."""
    await connection.fetchval(_ASK)


async def require(database: Database, *others: Full) -> None:
    """Check that attachments may be written. Raises DatabaseAway if not.

    The usual check does not notice a full disk. If a write of this process failed because of a full
    disk (noted in `database` or `others`), a test write is made instead, until one succeeds. There
    is at most one test write every TRY_EVERY_S seconds.
    """
    noted = [each for each in (database.full, *others) if each.seen]
    if not noted:
        await database.run(ask)
        return
    now = time.monotonic()
    if now < database.full.asked_at + TRY_EVERY_S:
        cause, mend = TABLE[DISK_FULL]
        raise DatabaseAway(Refusal(cause=cause, mend=mend, code=DISK_FULL))
    database.full.asked_at = now
    await database.run(try_write)
    for each in noted:
        each.seen = False


async def try_write(connection: Connection) -> None:
    """Do all writes of a create request and of an event, with all triggers. Then roll them back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        made = await connection.fetchval(
            "INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at)"
            " VALUES ($1, '', $2, '', now()) RETURNING id",
            ORGANIZATION,
            "Ω 文 🦊",
        )
        await connection.execute(
            "UPDATE attachments SET size = 1, deleted_at = now() WHERE id = $1", made
        )
        await connection.execute("DELETE FROM attachments WHERE id = $1", made)
        await connection.execute("UPDATE tokens SET last_used_at = now() WHERE id = -1")
    finally:
        await transaction.rollback()


async def find_missing_privileges(connection: Connection) -> list[str]:
    """List the privileges that the role lacks on the service's tables, such as `DELETE on tokens`.

    Tables that do not exist are left out. Sequences of identity columns need no privilege.
    """
    rows = await connection.fetch(
        "SELECT p.word || ' on ' || t.name AS missing"
        " FROM unnest($1::text[]) WITH ORDINALITY AS t (name, number)"
        " CROSS JOIN unnest($2::text[]) WITH ORDINALITY AS p (word, number)"
        " WHERE NOT has_table_privilege(to_regclass(t.name)::oid, p.word)"
        " ORDER BY t.number, p.number",
        TABLES,
        PRIVILEGES,
    )
    return [row["missing"] for row in rows]
