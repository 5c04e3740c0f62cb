"""Is the database there, new enough, writable, and at this version's schema?"""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from alembic.script import ScriptDirectory

from deploy.doctor.examination import Examination, Verdict, failed, ok, why
from shared import schema
from shared.database import Connection, DatabaseAway, open_database

OLDEST = 15

MENDS: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "refuses the user or the password",
        "correct ATTACHMENTS_DATABASE_URL, or let the user in (pg_hba.conf, ALTER ROLE)",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "has no database of that name",
        "create it (createdb), or correct ATTACHMENTS_DATABASE_URL",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "has no connection left",
        "raise max_connections, or lower ATTACHMENTS_DATABASE_POOL or the number of processes",
    ),
    (
        asyncpg.CannotConnectNowError,
        "is starting up or shutting down",
        "wait, and read PostgreSQL's own log if it stays so",
    ),
)


async def check_database(examination: Examination) -> Verdict:
    """See that PostgreSQL answers, is new enough, and may be written to."""
    url = examination.settings.database_url.get_secret_value()
    where = urlsplit(url).netloc.rpartition("@")[2] or "the local socket"
    try:
        examination.database = await examination.exits.enter_async_context(
            open_database(examination.settings)
        )
        version, standby, read_only = await examination.database.run(_describe)
    except DatabaseAway as error:
        cause = error.__cause__ or error
        for kind, fault, mend in MENDS:
            if isinstance(cause, kind):
                return failed(f"PostgreSQL at {where} {fault}", mend)
        return failed(
            f"PostgreSQL at {where} cannot be reached: {why(cause)}",
            "start it, and see that ATTACHMENTS_DATABASE_URL and the network lead to it",
        )
    except ValueError:
        return failed("the address cannot be used", "correct ATTACHMENTS_DATABASE_URL")
    return judge(where, version, standby=standby, read_only=read_only)


def judge(where: str, version: int, *, standby: bool, read_only: bool) -> Verdict:
    """Judge a server that answers by what it tells of itself."""
    major = version // 10_000
    if major < OLDEST:
        return failed(f"PostgreSQL {major} is too old", f"upgrade to {OLDEST} or newer")
    if standby:
        return failed(
            f"PostgreSQL at {where} is a standby",
            "lead ATTACHMENTS_DATABASE_URL to the primary",
        )
    if read_only:
        return failed(
            f"PostgreSQL at {where} is read-only",
            "unset default_transaction_read_only of the server, the database or the user",
        )
    return ok(f"PostgreSQL {major} at {where}")


async def _describe(connection: Connection) -> tuple[int, bool, bool]:
    row = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),"
        " current_setting('transaction_read_only')::boolean"
    )
    assert row is not None
    return row[0], row[1], row[2]


async def check_schema(examination: Examination) -> Verdict:
    """Compare the schema's version with the newest that this code knows."""
    scripts = ScriptDirectory(str(Path(schema.__file__).with_name("migrations")))
    head = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    found = await examination.database.run(_find_version)
    if found == head:
        return ok(f"at {head}, the newest")
    if found is None:
        return failed("the database has no schema yet", "run `attachments migrate`")
    if found in known:
        return failed(f"at {found}, behind {head}", "run `attachments migrate`")
    return failed(
        f"at {found}, which this version of the code does not know (it knows {head})",
        "run the doctor of the version that is deployed, or deploy the newer one here too",
    )


async def _find_version(connection: Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return version
