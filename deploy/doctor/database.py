"""Check that the database answers, is new enough and writable, and has this version's schema."""

from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory

from deploy.client.network_faults import fault_of
from deploy.doctor.examination import Examination, Status, Verdict, failed, ok, warning
from shared import schema
from shared.connector import Connector
from shared.database import Connection, DatabaseAway, open_database
from shared.refusals import ENCODING
from shared.role_settings import find_missing
from shared.rows import FromRow

OLDEST = 15

UTF8 = "UTF8"


async def check_database(examination: Examination) -> Verdict:
    """Check that PostgreSQL answers, is new enough and writable, and applies session settings.

    Opens the connections to the database, which stay open for the later checks.
    """
    try:
        database = await examination.exits.enter_async_context(open_database(examination.settings))
    except ValueError:
        return failed("the address cannot be used", "correct ATTACHMENTS_DATABASE_URL")
    assert database.connector is not None
    examination.database, connector = database, database.connector
    where = connector.server
    try:
        server = await database.run(_describe)
        verdict = judge(
            where,
            server.version,
            standby=server.standby,
            read_only=server.read_only,
            encoding=server.encoding,
        )
        if verdict.status is not Status.OK:
            return verdict
        missing = await database.run(find_missing, connector.role_settings)
    except DatabaseAway as error:
        return explain(where, error)
    return _judge_sessions(examination, connector, verdict, missing)


def explain(where: str, error: DatabaseAway) -> Verdict:
    """Return a verdict with the reason why PostgreSQL cannot be used, and the remedy."""
    cause, refusal = error.__cause__, error.refusal
    if isinstance(cause, OSError):
        return failed(
            f"PostgreSQL at {where} cannot be reached: {fault_of(cause)}",
            refusal.mend if refusal else "start it",
        )
    if refusal is None:
        return failed(f"PostgreSQL at {where}: {error}", "read its own log")
    code = f" ({refusal.code})" if refusal.code else ""
    begin, _, rest = refusal.cause.partition(" ")
    if begin == "PostgreSQL":
        return failed(f"PostgreSQL at {where} {rest}{code}", refusal.mend)
    return failed(f"PostgreSQL at {where}: {refusal.cause}{code}", refusal.mend)


def _judge_sessions(
    examination: Examination, connector: Connector, verdict: Verdict, missing: list[str]
) -> Verdict:
    """Return a warning if the sessions do not have the expected settings, else `verdict`."""
    found, mends = [verdict.found], []
    if connector.ignored:
        found.append(
            f"parameters of ATTACHMENTS_DATABASE_URL are ignored: {', '.join(connector.ignored)}"
        )
        mends.append("remove them from the address; the service has settings of its own")
    if missing:
        found.append(f"settings of the session have no effect: {', '.join(missing)}")
        mends.append(
            "run `attachments migrate`, which sets them on the role; the pooler's own connections"
            " use them after RECONNECT"
        )
    if connector.pooled and examination.settings.database_direct_url is None:
        found.append("a pooler is in front of it, so a change of a token takes up to 5 s")
        mends.append(
            "if that is too long, set ATTACHMENTS_DATABASE_DIRECT_URL to an address without pooler"
        )
    return warning("\n".join(found), "; ".join(mends)) if mends else verdict


def judge(
    where: str, version: int, *, standby: bool, read_only: bool, encoding: str = UTF8
) -> Verdict:
    """Return the verdict on a server. `version` is its `server_version_num`, such as 170002."""
    major = version // 10_000
    if major < OLDEST:
        return failed(f"PostgreSQL {major} is too old", f"upgrade to {OLDEST} or newer")
    if standby:
        return failed(
            f"PostgreSQL at {where} is a standby",
            "point ATTACHMENTS_DATABASE_URL to the primary",
        )
    if read_only:
        return failed(
            f"PostgreSQL at {where} is read-only",
            "unset default_transaction_read_only of the server, the database or the user",
        )
    if encoding != UTF8:
        return failed(f"the database has the encoding {encoding}, but {UTF8} is needed", ENCODING)
    return ok(f"PostgreSQL {major} at {where}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server(FromRow):
    """Properties of a PostgreSQL server. `version` is its `server_version_num`."""

    version: int
    standby: bool
    read_only: bool
    encoding: str


async def _describe(connection: Connection) -> _Server:
    row = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::integer AS version,"
        " pg_is_in_recovery() AS standby,"
        " current_setting('transaction_read_only')::boolean AS read_only,"
        " current_setting('server_encoding') AS encoding"
    )
    assert row is not None
    return _Server.from_row(row)


async def check_schema(examination: Examination) -> Verdict:
    """Compare the version of the schema with the newest one that this code knows."""
    scripts = ScriptDirectory(str(Path(schema.__file__).with_name("migrations")))
    head = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    found = await examination.database.run(schema.find_version)
    if found == head:
        return ok(f"at {head}, the newest")
    if found is None:
        return failed("the database has no schema yet", "run `attachments migrate`")
    if found in known:
        return failed(f"at {found}, but {head} is needed", "run `attachments migrate`")
    return failed(
        f"at {found}, which is unknown to this version of the code (it knows {head})",
        "run the doctor of the version that is deployed, or deploy the newer one here too",
    )
