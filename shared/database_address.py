"""Parse PostgreSQL addresses, with every parameter of their query.

libpq, poolers and ORMs each have parameters of their own. asyncpg reads some parameters of libpq,
and sends all others to the server as session settings. The server closes the connection if it does
not know a setting. So this module reads every parameter. A parameter is passed on, translated, or
ignored with a warning. A parameter is refused if ignoring it would make the connection weaker than
requested.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from shared.database_reader import Reader
from shared.database_words import FILES, MODES, SOCKET_OPTIONS, split_query

SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?")
"""The schemes of an address. SQLAlchemy adds a driver's name: `postgresql+asyncpg://`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address in the form that asyncpg accepts.

    `dsns` has one address for each host of `dsn`. `arguments` are further arguments of
    `asyncpg.connect`. `settings` are session settings. `unsure` are parameters of which only the
    server knows whether they are session settings. `ignored` lists the parameters that have no
    effect. `timeout_s` limits the time to connect; None means no limit. `pooled` is true if a
    pooler is in front of the server.
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
    def server(self) -> str:
        """Host and port of the address, to be shown in messages."""
        parts = urlsplit(self.dsn)
        host = parts.netloc.rpartition("@")[2] or split_query(parts.query).get("host", "")
        return unquote(host) or "the local socket"


def parse_address(text: str) -> Address:
    """Parse an address. Raises ValueError. Its text names the broken rule, but no value of the
    address.

    Checks that the files that the address names can be read. Does not connect.
    """
    parts = urlsplit(text)
    if not SCHEME.fullmatch(parts.scheme):
        raise ValueError("must be a postgresql:// address")
    if parts.fragment:
        raise ValueError("is not a valid address: # must be percent-encoded")
    if "@" in parts.path or parts.netloc.count("@") > 1:
        raise ValueError("is not a valid address: / and @ in a password must be percent-encoded")
    reader = Reader()
    for word, value in split_query(parts.query).items():
        reader.read(word, value)
    return _Assembly(parts, reader).address()


class _Assembly:
    """Builds an Address from all parameters together, because some parameters affect others."""

    def __init__(self, parts: SplitResult, words: Reader) -> None:
        self._parts = parts
        self._words = words
        self._query = words.query

    def address(self) -> Address:
        """Return the Address. Raises ValueError if two parameters contradict each other."""
        self._prefer_words()
        self._finish_hosts()
        self._finish_tls()
        return Address(
            dsn=self._dsn(self._parts.netloc, self._query),
            dsns=tuple(self._dsns()),
            arguments=self._words.arguments,
            settings=self._words.settings,
            unsure=self._words.unsure,
            ignored=tuple(self._words.ignored),
            timeout_s=self._words.timeout_s,
            pooled=self._words.pooled,
            statement_cache_size=self._words.cache,
            socket_options=self._socket_options(),
        )

    def _dsn(self, netloc: str, words: Mapping[str, str]) -> str:
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in words.items())
        return f"postgresql://{netloc}{self._parts.path}{'?' if query else ''}{query}"

    def _dsns(self) -> Iterator[str]:
        user, at, named = self._parts.netloc.rpartition("@")
        ports = self._query.get("port", "").split(",")
        for number, host in enumerate((named or self._query.get("host", "")).split(",")):
            words = dict(self._query)
            if len(ports) > 1:
                words["port"] = ports[number]
            if named:  # with a host before the query, asyncpg ignores the parameter `port`
                name, port = _split_port(host)
                host = ":".join(filter(None, (name, words.pop("port", port))))
            elif host:
                words["host"] = _bracketed(host)
            yield self._dsn(f"{user}{at}{host if named else ''}", words)

    def _prefer_words(self) -> None:
        """Replace user, password, host and path by parameters of the query, as libpq does.

        asyncpg would use the parts before the query instead. For example,
        `postgresql://user:password@localhost/database?host=/run/socket` is a common address.
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
        if hosts and not (self._words.hostaddr and self._needs_name()):
            pairs = [_split_port(host) for host in hosts.split(",")]
            moved = "host" in words or self._words.hostaddr
            if moved and "port" not in words and any(port for _, port in pairs):
                words["port"] = ",".join(port or "5432" for _, port in pairs)
            if "host" in words:
                hosts = ""
            elif "port" in words:
                hosts = ",".join(host for host, _ in pairs)
        self._parts = self._parts._replace(netloc=f"{user}{colon}{password}{at}{hosts}")

    def _needs_name(self) -> bool:
        """Return whether the server's certificate must contain the host's name."""
        return self._words.strict or self._query.get("sslmode", self._words.ssl) == "verify-full"

    def _finish_hosts(self) -> None:
        named = self._parts.netloc.rpartition("@")[2] or self._query.get("host", "")
        if self._words.hostaddr:
            if named and self._needs_name():
                self._words.ignored.append("hostaddr")  # the certificate must match the host name
            else:
                user, at, _ = self._parts.netloc.rpartition("@")
                self._parts = self._parts._replace(netloc=f"{user}{at}")
                self._query["host"] = named = self._words.hostaddr
        ports = self._query.get("port", "").split(",")
        hosts = max(1, len(named.split(",")))
        if len(ports) == 1 and ports[0] and hosts > 1:
            self._query["port"] = ",".join(ports * hosts)
        elif len(ports) > 1 and len(ports) != hosts:
            raise ValueError("names more or fewer ports than hosts")

    def _finish_tls(self) -> None:
        if self._words.strict:  # sslaccept=strict overrides a weaker sslmode
            self._query["sslmode"] = "verify-full"
        elif self._words.ssl:
            self._query.setdefault("sslmode", self._words.ssl)
        root = self._query.get("sslrootcert")
        if root == "system":
            if self._query.setdefault("sslmode", "verify-full") != "verify-full":
                raise ValueError("must have sslmode=verify-full if sslrootcert is system")
            del self._query["sslrootcert"]
        if self._query.get("sslnegotiation") == "direct" and (
            self._query.get("sslmode") not in MODES[3:]
        ):
            raise ValueError("must have sslmode=require or stronger if sslnegotiation is direct")
        if root == "system" or (self._words.strict and root is None):
            del self._query["sslmode"]
            self._trust_the_system()
        for name in sorted(FILES & self._query.keys()):
            if not os.access(self._query[name], os.R_OK):
                raise ValueError(f"names a file in {name} that cannot be read")

    def _trust_the_system(self) -> None:
        """Verify the server with the system's certificate authorities, by an SSLContext.

        asyncpg has no parameter for that.
        """
        if FILES & self._query.keys():
            raise ValueError(
                "cannot have sslcert, sslkey or sslcrl together with sslrootcert=system"
            )
        context = ssl.create_default_context()
        if ssl.HAS_ALPN:
            context.set_alpn_protocols(["postgresql"])
        self._words.arguments["ssl"] = context

    def _socket_options(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        if "keepalives" in self._words.options:
            found.append(
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, self._words.options["keepalives"])
            )
        elif any(name.startswith("keepalives") for name in self._words.options):
            found.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        for name, (level, option) in SOCKET_OPTIONS.items():
            if name in self._words.options and hasattr(socket, option):
                found.append((level, getattr(socket, option), self._words.options[name]))
        return tuple(found)


def _split_port(host: str) -> tuple[str, str]:
    """Split one host of an address into host and port; the port may be empty."""
    name, bracket, rest = host.rpartition("]")
    before, _, port = rest.partition(":")
    return f"{name}{bracket}{before}", port


def _bracketed(host: str) -> str:
    """Put an IPv6 address in brackets, because asyncpg reads the text after a colon as a port."""
    return f"[{host}]" if ":" in host and not host.startswith(("[", "/")) else host
