"""Explain why PostgreSQL refuses something: a table gives the cause and remedy of each error code.

The codes are SQLSTATEs (https://www.postgresql.org/docs/current/errcodes-appendix.html). The first
two characters of a code are its class. If the table has the complete code, that entry is used, else
the entry of the class. The server's own message is never shown, because it may contain a password
or a client's text. A code that is not in the table means a bug of the service.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import asyncpg

URL = "ATTACHMENTS_DATABASE_URL"
DISK_FULL = "53100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the database refuses a connection or a statement (`cause`), and the remedy (`mend`).

    `code` is the SQLSTATE, or empty if the server did not answer. In that case `server` is the
    server's address, without user and password. If a client's text is the cause, `detail` is a
    message for that client.
    """

    cause: str
    mend: str
    code: str = ""
    server: str = ""
    detail: str | None = None

    @property
    def of_content(self) -> bool:
        """True if PostgreSQL refuses the values in this statement, but accepts others."""
        return self.code in OF_CONTENT

    @property
    def of_writes(self) -> bool:
        """True if PostgreSQL refuses to write, but may still answer queries."""
        return self.code in OF_WRITES

    def __str__(self) -> str:
        aside = ", ".join(filter(None, (self.code, self.server)))
        return f"{self.cause}{f' ({aside})' if aside else ''}: {self.mend}"


MIGRATE = "run `attachments migrate`; if that was done, deploy the version that did it everywhere"
TRY_AGAIN = "it is retried; if it keeps failing, read PostgreSQL's own log"
ENCODING = "create the database again with the encoding UTF8 (createdb -E UTF8 -T template0)"

# SQLSTATE, or its class of two characters → cause, remedy
TABLE: Mapping[str, tuple[str, str]] = {
    "08": ("the connection to PostgreSQL broke", TRY_AGAIN),
    "08P01": (
        "a pooler in front of PostgreSQL, or PostgreSQL itself, refuses the connection",
        f"check that the pooler serves the database and the role of {URL}, reaches the server and"
        " has connections left; its own log says more",
    ),
    "0A000": ("the server lacks a feature that the service uses", "use PostgreSQL 15 or newer"),
    "22021": ("the encoding of the database cannot hold a text", ENCODING),
    "22023": (
        "PostgreSQL refuses the value of a setting",
        f"correct the settings in {URL}, those after `options` too",
    ),
    "22P05": ("the encoding of the database cannot hold a text", ENCODING),
    "25006": (
        "PostgreSQL is read-only",
        f"point {URL} to the primary (of several hosts, target_session_attrs=read-write finds it),"
        " or unset default_transaction_read_only of the server, the database and the role",
    ),
    "25P02": ("a transaction failed", TRY_AGAIN),
    "25P03": (
        "PostgreSQL ended a session that was idle in a transaction",
        "it is retried; if it keeps failing, raise idle_in_transaction_session_timeout of the role",
    ),
    "25P04": (
        "PostgreSQL ended a transaction that took longer than it may",
        "raise transaction_timeout of the role, or find the reason why the server is slow",
    ),
    "26000": (
        "a pooler in front of PostgreSQL loses prepared statements",
        f"add pgbouncer=true to {URL}",
    ),
    "28": (
        "PostgreSQL refuses the user, or the address that it comes from",
        f"correct {URL}, or let the user in (pg_hba.conf, ALTER ROLE … LOGIN, sslmode)",
    ),
    "28P01": ("PostgreSQL refuses the user or the password", f"correct {URL}"),
    "3D000": ("PostgreSQL has no database of that name", f"create it (createdb), or correct {URL}"),
    "3F000": (
        "there is no such schema",
        "create the schema, or correct search_path of the role, the database and the address",
    ),
    "40": ("transactions conflicted or were deadlocked", TRY_AGAIN),
    "42501": (
        "the role lacks a privilege",
        "let it own the tables, or grant it USAGE on the schema, SELECT, INSERT, UPDATE and DELETE"
        " on all tables, and SELECT and UPDATE on their sequences",
    ),
    "42703": ("the schema is not that of this version", MIGRATE),
    "42704": (
        "PostgreSQL does not know a setting or a type",
        f"correct the settings in {URL}, those after `options` too, and run `attachments migrate`",
    ),
    "42804": ("the schema is not that of this version", MIGRATE),
    "42883": ("the schema is not that of this version", MIGRATE),
    "42P01": (
        "tables are missing, or the role cannot see them",
        f"{MIGRATE}; the role needs USAGE on their schema, and its search_path must name it",
    ),
    "42P05": (
        "a pooler in front of PostgreSQL mixes up prepared statements",
        f"add pgbouncer=true to {URL}",
    ),
    "42P10": ("the schema is not that of this version", MIGRATE),
    "53": ("PostgreSQL is out of resources", "give it more; its own log names the resource"),
    DISK_FULL: ("the disk of PostgreSQL is full", "make room on it"),
    "53200": ("PostgreSQL is out of memory", "give it more memory, or lower max_connections"),
    "53300": (
        "PostgreSQL has no connection left",
        "raise max_connections, or the CONNECTION LIMIT of role and database, or lower"
        " ATTACHMENTS_DATABASE_POOL or the number of processes",
    ),
    "53400": ("a limit in PostgreSQL's configuration is reached", "raise it; its log names it"),
    "55000": (
        "the database takes no connections, or an object is not usable now",
        "ALTER DATABASE … ALLOW_CONNECTIONS true, or wait until the running operation has ended",
    ),
    "55006": ("an object of the database is in use", TRY_AGAIN),
    "55P02": (
        "a setting cannot be changed by a session",
        f"remove it from {URL}, or from `options` there",
    ),
    "55P03": (
        "a lock was not free in time",
        "find the session that holds it: a migration, VACUUM FULL, or a session that was left open",
    ),
    "57": ("PostgreSQL ended the session", TRY_AGAIN),
    "57014": (
        "PostgreSQL cancelled a statement that took longer than it may",
        "check whether it is overloaded, or statement_timeout of the role is below 5 s",
    ),
    "57P03": ("PostgreSQL is starting up or shutting down", TRY_AGAIN),
    "57P04": ("the database was dropped", f"create it (createdb), or correct {URL}"),
    "58": ("PostgreSQL cannot use its files", "look at its disk, and read its own log"),
    "F0": ("PostgreSQL cannot use its configuration", "read its own log"),
    "P0001": (  # no trigger of this service raises this error
        "a trigger or function that was added to the database refuses it",
        "read PostgreSQL's own log, and correct or drop that trigger",
    ),
    "XX": ("PostgreSQL, or a pooler in front of it, has a fault", "read its own log"),
}

UNKNOWN = ("PostgreSQL refuses the statement", "read its own log")

ENCODING_CODES = ("22021", "22P05")
OF_CONTENT = (*ENCODING_CODES, "P0001")
"""The codes for refused values. The server still accepts other values."""

OF_WRITES = ("25006", DISK_FULL)
"""The codes for refused writes. The server still answers queries."""

TEXT_DETAIL = "The text cannot be stored: the database does not use the encoding UTF8"


def find_refusal(error: BaseException, server: str = "") -> Refusal | None:
    """Explain an error of the database or the connection. Returns None for a bug of the service.

    `server` is the server's address without secrets. The Refusal contains it if no server answered.
    """
    if isinstance(error, asyncpg.PostgresError):
        code = str(error.sqlstate or "")
        found = TABLE.get(code) or TABLE.get(code[:2])
        if found is None:
            return None
        detail = TEXT_DETAIL if code in ENCODING_CODES else None
        return Refusal(cause=found[0], mend=found[1], code=code, detail=detail)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return Refusal(
            cause="no server of the address is writable",
            mend=f"point {URL} to the primary; it may be in recovery",
        )
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        if isinstance(error, asyncpg.ClientConfigurationError):
            return Refusal(cause="the address cannot be used", mend=f"correct {URL}")
        return Refusal(cause=f"the connection broke ({type(error).__name__})", mend=TRY_AGAIN)
    if isinstance(error, OSError):
        return replace(_of_the_way(error), server=server)
    return None


def explain(error: BaseException, server: str = "") -> Refusal:
    """Explain an error or one of its causes as `find_refusal` does, or else as UNKNOWN."""
    for each in _chain(error):
        if (found := find_refusal(each, server)) is not None:
            return found
    codes = (str(getattr(each, "sqlstate", "") or "") for each in _chain(error))
    return Refusal(cause=UNKNOWN[0], mend=UNKNOWN[1], code=next(filter(None, codes), ""))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, because SQLAlchemy and alembic wrap the driver's errors."""
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            return
        yield current
        current = getattr(current, "orig", None) or current.__cause__ or current.__context__


def _of_the_way(error: OSError) -> Refusal:
    """Explain an error that occurred before PostgreSQL answered."""
    start = f"start it, and check that {URL} and the network lead to it"
    if isinstance(error, TimeoutError):
        return Refusal(cause="PostgreSQL did not answer in time", mend=start)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal(
            cause="PostgreSQL's TLS certificate is not accepted",
            mend=f"correct sslrootcert and the host in {URL}, or the certificate",
        )
    if isinstance(error, ssl.SSLError):
        return Refusal(
            cause="TLS with PostgreSQL cannot be set up",
            mend=f"correct the parameters in {URL} that begin with ssl",
        )
    if isinstance(error, socket.gaierror):
        return Refusal(cause="the name of PostgreSQL's host is not known", mend=f"correct {URL}")
    if isinstance(error, ConnectionRefusedError):
        return Refusal(cause="PostgreSQL refuses connections at the address", mend=start)
    if isinstance(error, FileNotFoundError):
        return Refusal(cause="there is no such socket or file", mend=f"correct {URL}, or start it")
    if isinstance(error, PermissionError):
        return Refusal(cause="a socket or a file may not be opened", mend=f"correct {URL}")
    if "rejected SSL upgrade" in str(error):  # asyncpg has no class of its own for this error
        return Refusal(
            cause="PostgreSQL does not speak TLS, which the address asks for",
            mend=f"turn ssl on at the server, or change sslmode in {URL}",
        )
    return Refusal(
        cause=f"PostgreSQL cannot be reached: {type(error).__name__}",
        mend=start,
    )
