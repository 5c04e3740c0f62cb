"""The parameters in the query of a database address: those of libpq, of poolers and of ORMs.

`shared.database_reader` and `shared.database_address` use these tables. libpq's parameters are in
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

import re
import socket
from collections.abc import Mapping
from urllib.parse import unquote

PASSED = frozenset(
    {"dbname", "database", "user", "password", "passfile", "krbsrvname", "gsslib", "service"}
    | {"sslpassword"}
)
"""Parameters that asyncpg reads with the same meaning as libpq."""

FILES = frozenset({"sslcert", "sslkey", "sslrootcert", "sslcrl"})

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": MODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    # The service writes to the database, so it cannot use a read-only server.
    "target_session_attrs": ("any", "read-write", "primary"),
}

FALSE = frozenset({"false", "0", "off", "no"})
TRUE = frozenset({"", "true", "1", "on", "yes"})

MEANINGLESS: Mapping[str, frozenset[str] | None] = {
    "authtype": None,
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"auto", "utf8", "utf-8", "unicode"}),
    "fallback_application_name": None,
    "gssdelegation": FALSE,
    "gssencmode": frozenset({"disable", "prefer", "allow"}),
    "load_balance_hosts": frozenset({"disable"}),
    "max_protocol_version": None,
    "min_protocol_version": frozenset({"3.0"}),
    "replication": FALSE,
    "requiressl": FALSE,
    "ssl": FALSE,
    "sslaccept": frozenset({"accept_invalid_certs"}),
    "sslcertmode": frozenset({"allow"}),
    "sslcompression": FALSE,
    "sslsni": TRUE,
    "tty": None,
}
"""Parameters that asyncpg does not have. Each has a list of values, or None for all values. If an
address has such a value, the parameter is left out, because asyncpg already behaves in that way."""

_VERIFY = "use sslmode=verify-full, which proves who the server is"
REFUSED: Mapping[str, str] = {
    "channel_binding": f"the driver has no channel binding; {_VERIFY}",
    "gssencmode": "the driver cannot encrypt by GSSAPI; use sslmode",
    "min_protocol_version": "the driver speaks version 3.0 of the protocol",
    "replication": "a connection for replication cannot be used",
    "require_auth": f"the driver cannot refuse a method of authentication; {_VERIFY}",
    "requirepeer": "the driver cannot check who owns a socket",
    "scram_client_key": "the driver needs the password",
    "scram_server_key": "the driver needs the password",
    "sslcertmode": "the driver cannot guarantee it",
    "sslcrldir": "the driver reads one file of revoked certificates: use sslcrl",
    "sslidentity": "the driver reads certificates and keys in PEM: use sslcert and sslkey",
}
"""Parameters that are refused, and why. If they were ignored, the connection would be weaker than
requested, or useless."""

IGNORED = frozenset(
    # parameters of libpq
    {"oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope", "sslkeylogfile"}
    # parameters of ORMs, drivers and poolers; ATTACHMENTS_DATABASE_POOL sets the pool's size
    | {"checkout_timeout", "command_timeout", "conn_max_age", "connection_limit", "max_overflow"}
    | {"max_size", "min_size", "pool", "pool_max_conns", "pool_min_conns", "pool_pre_ping"}
    | {"pool_recycle", "pool_size", "pool_timeout", "poolclass", "reaping_frequency", "supa"}
    | {"socket_timeout", "sockettimeout", "charset", "encoding", "serverversion", "uselibpqcompat"}
)
CACHES = frozenset(
    {"statement_cache_size", "prepared_statement_cache_size", "statement_cache_capacity"}
    | {"prepared_statements", "preparethreshold", "prepare"}
)
"""Parameters that turn off prepared statements if they are false or 0. If one of them does, there
is probably a pooler."""

EXEC_MODES = frozenset({"exec", "simple_protocol", "cache_describe", "describe_exec"})

SOCKET_OPTIONS: Mapping[str, tuple[int, str]] = {
    "keepalives_idle": (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
    "keepalives_interval": (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
    "keepalives_count": (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
    "tcp_user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
}
"""Socket options whose value is the parameter's number. The first two are in seconds, the third is
a count, and the last is in milliseconds."""

_SHORT = re.compile(r"(?<!\S)-c\s*")
_WORD = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def split_query(query: str) -> dict[str, str]:
    """Split a query as libpq does: a plus sign stays, and of several equal names the last is used.

    Raises ValueError if the query is not UTF-8.
    """
    words = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name:
            try:
                words[unquote(name, errors="strict")] = unquote(value, errors="strict")
            except UnicodeDecodeError:
                raise ValueError("is not a valid address: its query must be UTF-8") from None
    return words


def split_options(text: str) -> dict[str, str] | None:
    """Split `-c name=value` and `--name=value` into settings. Returns None for any other option.

    A backslash escapes the next character, as in libpq.
    """
    if text.startswith("-c+"):  # other libraries write a space in a URL as a plus sign
        text = text.replace("+", " ")
    found = {}
    for word in _WORD.findall(_SHORT.sub("--", text)):
        name, equals, value = _ESCAPE.sub(r"\1", word).removeprefix("--").partition("=")
        if not word.startswith("--") or not equals or not name:
            return None
        found[name.replace("-", "_")] = value
    return found


def is_number(text: str) -> bool:
    """Return whether a text consists of one to nine ASCII digits."""
    return text.isascii() and text.isdecimal() and len(text) < 10
