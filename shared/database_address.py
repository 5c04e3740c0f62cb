"""Addresses of PostgreSQL: what each word of their query comes to.

libpq, poolers and ORMs each have words of their own. asyncpg reads some of libpq's, and sends all
others to the server as settings of the session; the server ends the connection if it does not know
one. So every word is read here. It is passed on, translated, ignored with a warning that names it,
or refused, if ignoring it would make the connection weaker than it was asked to be.

It is long because the words of one address depend on each other.
"""

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from shared.database_words import (
    CACHES,
    CHOICES,
    EXEC_MODES,
    FALSE,
    FILES,
    IGNORED,
    MEANINGLESS,
    MODES,
    PASSED,
    REFUSED,
    SOCKET_OPTIONS,
    TRUE,
    is_number,
    split_options,
    split_query,
)

SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?")
"""SQLAlchemy names its driver after a plus sign: `postgresql+asyncpg://`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address as asyncpg takes it.

    `dsns` are one for each host of `dsn`. `settings` are of the session, and `unsure` may be some:
    the server knows. `ignored` names the words without an effect. `timeout_s` bounds the making of
    a connection; None is no bound. `pooled` tells that a pooler is in front of the server.
    """

    dsn: str = field(repr=False)
    dsns: tuple[str, ...] = field(repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    unsure: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    timeout_s: float | None = None
    pooled: bool = False
    statement_cache_size: int | None = None
    socket_options: tuple[tuple[int, int, int], ...] = ()

    @property
    def place(self) -> str:
        """Host and port as the address has them, for people."""
        parts = urlsplit(self.dsn)
        host = parts.netloc.rpartition("@")[2] or split_query(parts.query).get("host", "")
        return unquote(host) or "the local socket"


def parse_address(text: str) -> Address:
    """Read an address. Raises ValueError with the rule that it breaks, without any of its values.

    Looks at files that it names, and connects to nothing.
    """
    parts = urlsplit(text)
    if not SCHEME.fullmatch(parts.scheme):
        raise ValueError("must be a postgresql:// address")
    if parts.fragment:
        raise ValueError("is not a valid address: # must be percent-encoded")
    if "@" in parts.path or parts.netloc.count("@") > 1:
        raise ValueError("is not a valid address: / and @ in a password must be percent-encoded")
    reader = _Reader(parts)
    for word, value in split_query(parts.query).items():
        reader.read(word, value)
    return reader.finish()


class _Reader:
    """Collects what the words of one address come to."""

    def __init__(self, parts: SplitResult) -> None:
        self._parts = parts
        self._query: dict[str, str] = {}
        self._arguments: dict[str, Any] = {}
        self._settings: dict[str, str] = {}
        self._unsure: dict[str, str] = {}
        self._ignored: list[str] = []
        self._options: dict[str, int] = {}
        self._timeout_s: float | None = None
        self._pooled = False
        self._cache: int | None = None
        self._hostaddr = self._ssl = ""
        self._strict = False
        self._special: Mapping[str, Callable[[str], None]] = {
            "host": lambda value: self._keep("host", value),
            "port": self._port,
            "hostaddr": self._take_hostaddr,
            "connect_timeout": self._connect_timeout,
            "connecttimeout": self._connect_timeout,
            "logintimeout": self._connect_timeout,
            "application_name": lambda value: self._set("application_name", value),
            "applicationname": lambda value: self._set("application_name", value),
            "options": self._read_options,
            "servicefile": self._servicefile,
            "ssl": self._take_ssl,
            "requiressl": self._take_ssl,
            "sslaccept": self._sslaccept,
            "pgbouncer": self._pgbouncer,
            "default_query_exec_mode": self._exec_mode,
            "schema": self._schema,
            "currentschema": lambda value: self._set("search_path", value),
            "keepalives": self._keepalives,
            "tcpkeepalive": self._keepalives,
        }

    def read(self, word: str, value: str) -> None:
        """Take one word. Raises ValueError."""
        name = word.lower()
        if name in MEANINGLESS:
            harmless = MEANINGLESS[name]
            if harmless is None or value.lower() in harmless or value == "":
                return
        if name in REFUSED:
            if value != "":
                raise ValueError(f"asks for {name}, which cannot be kept: {REFUSED[name]}")
        elif name in self._special:
            self._special[name](value)
        elif name in CHOICES:
            self._choose(name, value)
        elif name in PASSED or name in FILES:
            self._keep(name, value)
        elif name in CACHES:
            self._cache_size(name, value)
        elif name in SOCKET_OPTIONS:
            self._socket_option(name, value)
        elif name in IGNORED or name in MEANINGLESS:
            self._ignored.append(word)
        elif value != "":
            self._unsure[word] = value

    # --- words that are passed on -------------------------------------------------------------

    def _keep(self, name: str, value: str) -> None:
        if value != "":
            self._query[name] = value

    def _choose(self, name: str, value: str) -> None:
        if value == "":
            return
        if value not in CHOICES[name]:
            raise ValueError(f"has a {name} that is none of {', '.join(CHOICES[name])}")
        self._query[name] = value

    def _port(self, value: str) -> None:
        ports = value.split(",") if value else []
        if not all(is_number(port) and 0 < int(port) < 65536 for port in ports):
            raise ValueError("has a port that is not a number from 1 to 65535")
        self._keep("port", value)

    def _take_hostaddr(self, value: str) -> None:
        self._hostaddr = value

    def _servicefile(self, value: str) -> None:
        if value:
            self._arguments["servicefile"] = value

    # --- words that are translated ------------------------------------------------------------

    def _set(self, name: str, value: str) -> None:
        if value != "":
            self._settings[name] = value

    def _connect_timeout(self, value: str) -> None:
        try:
            seconds = float(value or 0)
        except ValueError:
            seconds = float("nan")
        if not -1e9 < seconds < 1e9:
            raise ValueError("has a connect_timeout that is not a number of seconds")
        if seconds > 0:  # 0 and less are no limit
            self._timeout_s = seconds

    def _read_options(self, value: str) -> None:
        """Take `-c name=value` and `--name=value` apart, and send anything else as it is."""
        found = split_options(value)
        if found is None:
            self._settings["options"] = value
        else:
            self._settings.update(found)

    def _take_ssl(self, value: str) -> None:
        """Read `ssl` as JDBC and SQLAlchemy mean it."""
        mode = "require" if value.lower() in TRUE else value
        if mode not in MODES:
            raise ValueError(f"has an ssl that is none of true, {', '.join(MODES)}")
        self._ssl = self._ssl or mode

    def _sslaccept(self, value: str) -> None:
        if value != "strict":
            raise ValueError("has an sslaccept that is none of strict, accept_invalid_certs")
        self._strict = True

    def _pgbouncer(self, value: str) -> None:
        if value.lower() not in TRUE | FALSE:
            raise ValueError("has a pgbouncer that is neither true nor false")
        self._pooled = self._pooled or value.lower() in TRUE

    def _cache_size(self, name: str, value: str) -> None:
        lowered = value.lower()
        if lowered in FALSE:
            self._pooled = True
        elif lowered in TRUE:
            return
        elif not is_number(value):
            raise ValueError(f"has a {name} that is not a number")
        elif name in ("statement_cache_size", "prepared_statement_cache_size"):
            self._cache = int(value)

    def _exec_mode(self, value: str) -> None:
        self._pooled = self._pooled or value in EXEC_MODES

    def _schema(self, value: str) -> None:
        """Look for tables in one schema, as Prisma does; its name is taken as it is written."""
        escaped = value.replace('"', '""')
        self._set("search_path", f'"{escaped}"' if value else "")

    def _keepalives(self, value: str) -> None:
        self._options["keepalives"] = int(value.lower() in TRUE)

    def _socket_option(self, name: str, value: str) -> None:
        if value and not is_number(value):
            raise ValueError(f"has a {name} that is not a number")
        if value and int(value) > 0:  # 0 is the system's own
            self._options[name] = int(value)

    # --- what they come to --------------------------------------------------------------------

    def finish(self) -> Address:
        """Put it together. Raises ValueError."""
        self._prefer_words()
        self._finish_hosts()
        self._finish_tls()
        return Address(
            dsn=self._dsn(self._parts.netloc, self._query),
            dsns=tuple(self._dsns()),
            arguments=self._arguments,
            settings=self._settings,
            unsure=self._unsure,
            ignored=tuple(self._ignored),
            timeout_s=self._timeout_s,
            pooled=self._pooled,
            statement_cache_size=self._cache,
            socket_options=self._socket_options(),
        )

    def _dsn(self, netloc: str, words: Mapping[str, str]) -> str:
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in words.items())
        return f"postgresql://{netloc}{self._parts.path}{'?' if query else ''}{query}"

    def _dsns(self) -> Iterator[str]:
        user, at, named = self._parts.netloc.rpartition("@")
        ports = self._query.get("port", "").split(",")
        for place, host in enumerate((named or self._query.get("host", "")).split(",")):
            words = dict(self._query)
            if len(ports) > 1:
                words["port"] = ports[place]
            if named:  # asyncpg reads no word `port` then
                name, port = _split_port(host)
                host = ":".join(filter(None, (name, words.pop("port", port))))
            elif host:
                words["host"] = _bracketed(host)
            yield self._dsn(f"{user}{at}{host if named else ''}", words)

    def _prefer_words(self) -> None:
        """Let words take the place of what stands before the query: libpq does, asyncpg does not.

        `postgresql://user:password@localhost/database?host=/run/socket` is a usual one.
        """
        words, (auth, at, hosts) = self._query, self._parts.netloc.rpartition("@")
        user, colon, password = auth.partition(":")
        if user and "user" in words:
            user = quote(words.pop("user"), safe="")
        if password and "password" in words:
            password = quote(words.pop("password"), safe="")
        named = [words.pop(word) for word in ("database", "dbname") if word in words]
        if named:
            self._parts = self._parts._replace(path=f"/{quote(named[-1], safe='')}")
        if hosts and not (self._hostaddr and self._needs_name()):
            pairs = [_split_port(host) for host in hosts.split(",")]
            moved = "host" in words or self._hostaddr
            if moved and "port" not in words and any(port for _, port in pairs):
                words["port"] = ",".join(port or "5432" for _, port in pairs)
            if "host" in words:
                hosts = ""
            elif "port" in words:
                hosts = ",".join(host for host, _ in pairs)
        self._parts = self._parts._replace(netloc=f"{user}{colon}{password}{at}{hosts}")

    def _needs_name(self) -> bool:
        """Whether the certificate is compared with the host's name."""
        return self._strict or self._query.get("sslmode", self._ssl) == "verify-full"

    def _finish_hosts(self) -> None:
        named = self._parts.netloc.rpartition("@")[2] or self._query.get("host", "")
        if self._hostaddr:
            if named and self._needs_name():
                self._ignored.append("hostaddr")  # the certificate has the name
            else:
                user, at, _ = self._parts.netloc.rpartition("@")
                self._parts = self._parts._replace(netloc=f"{user}{at}")
                self._query["host"] = named = self._hostaddr
        ports = self._query.get("port", "").split(",")
        hosts = max(1, len(named.split(",")))
        if len(ports) == 1 and ports[0] and hosts > 1:
            self._query["port"] = ",".join(ports * hosts)
        elif len(ports) > 1 and len(ports) != hosts:
            raise ValueError("names more or fewer ports than hosts")

    def _finish_tls(self) -> None:
        if self._strict:  # it adds to what sslmode asks for
            self._query["sslmode"] = "verify-full"
        elif self._ssl:
            self._query.setdefault("sslmode", self._ssl)
        root = self._query.get("sslrootcert")
        if root == "system":
            if self._query.setdefault("sslmode", "verify-full") != "verify-full":
                raise ValueError("must have sslmode=verify-full where sslrootcert is system")
            del self._query["sslrootcert"]
        if self._query.get("sslnegotiation") == "direct" and (
            self._query.get("sslmode") not in MODES[3:]
        ):
            raise ValueError("must have sslmode=require or stronger where sslnegotiation is direct")
        if root == "system" or (self._strict and root is None):
            del self._query["sslmode"]
            self._trust_the_system()
        for name in sorted(FILES & self._query.keys()):
            if not os.access(self._query[name], os.R_OK):
                raise ValueError(f"names a file by {name} that cannot be read")

    def _trust_the_system(self) -> None:
        """Verify by the authorities that the system trusts, which asyncpg has no word for."""
        if FILES & self._query.keys():
            raise ValueError("cannot have sslcert, sslkey or sslcrl beside sslrootcert=system")
        context = ssl.create_default_context()
        if ssl.HAS_ALPN:
            context.set_alpn_protocols(["postgresql"])
        self._arguments["ssl"] = context

    def _socket_options(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        if "keepalives" in self._options:
            found.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, self._options["keepalives"]))
        elif any(name.startswith("keepalives") for name in self._options):
            found.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        for name, (level, option) in SOCKET_OPTIONS.items():
            if name in self._options and hasattr(socket, option):
                found.append((level, getattr(socket, option), self._options[name]))
        return tuple(found)


def _split_port(host: str) -> tuple[str, str]:
    """Take one host of an address and its port apart; the port may be empty."""
    name, bracket, rest = host.rpartition("]")
    before, _, port = rest.partition(":")
    return f"{name}{bracket}{before}", port


def _bracketed(host: str) -> str:
    """Write an IPv6 address in brackets: asyncpg takes what follows a colon for the port."""
    return f"[{host}]" if ":" in host and not host.startswith(("[", "/")) else host
