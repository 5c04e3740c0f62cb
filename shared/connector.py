"""Connect to PostgreSQL, without those settings of the address that the server refuses.

PgBouncer refuses session settings that it does not know. The first connection asks for a setting
that no pooler knows, so a refusal proves that there is a pooler. From then on, connections are made
without settings and without named prepared statements, because in transaction mode the next
statement may run in another session. `attachments migrate` sets the settings on the role instead.
"""

import asyncio
import itertools
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import asyncpg

from shared.database_address import parse_address
from shared.log import get_logger

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0

MARK = ("attachments.session", "own")
"""A setting, name and value, that PostgreSQL accepts from every role and that no pooler knows."""

NO_POOLER_SETS = "unsupported startup parameter"
"""A text in PgBouncer's message when it refuses a setting. PgBouncer has no translations."""

# SQLSTATEs of a setting that the server does not know, or does not accept from this role
UNKNOWN_SETTING = frozenset({"42704", "55P02", "42501"})

# The errors after which the next host is tried, as in asyncpg and libpq
NEXT_HOST = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)

QUEUED = "AW001"
"""The SQLSTATE of the notice with which the trigger of migration 0013 reports queued deliveries."""

log = get_logger(__name__)
_warned: set[tuple[str, ...]] = set()


class Session(asyncpg.Connection):
    """A connection that gives its prepared statements names that no other process uses.

    A pooler that was not detected may send a statement to the session of another process. If both
    processes used the same names, the other process's statement would run there. Because names are
    unique, that session does not know the name, and the server answers with an error. From then on,
    `Database.run` uses no names.

    A session also remembers whether a statement has queued deliveries of webhooks.
    """

    __slots__ = ("_queued",)
    _OURS = secrets.token_hex(6)
    _NUMBERS = itertools.count(1)

    def _get_unique_id(self, prefix: str) -> str:
        # `_get_unique_id` is private in asyncpg. asyncpg's own names are the same in every process,
        # so a pooler would mix up the statements of two processes.
        return f"attachments_{prefix}_{self._OURS}_{next(self._NUMBERS):x}"

    def _process_log_message(self, fields: Mapping[str, str], _: Any) -> None:
        # `_process_log_message` is private in asyncpg. A public log listener does not suffice: it
        # is called only after the statement has returned, and the pool warns about each listener
        # when it takes the connection back. This method replaces asyncpg's, so log listeners of
        # this connection are not called.
        if fields.get("C") == QUEUED:
            self._queued = True

    def take_queued(self) -> bool:
        """Return whether a statement has queued deliveries since the last call."""
        queued = getattr(self, "_queued", False)
        self._queued = False
        return queued


class Connector:
    """Connects to one database address, and remembers the settings that the server refuses.

    `defaults` are session settings that the address may replace. `pooled` is true if a pooler is in
    front of the server; it is known after the first connection. `ignored` lists the parameters of
    the address that have no effect. Raises ValueError if the address cannot be used.
    """

    def __init__(self, url: str, defaults: Mapping[str, str] | None = None) -> None:
        self._address = parse_address(url)
        self.settings = {**(defaults or {}), **self._address.settings}
        self._unsure = dict(self._address.unsure)
        self.ignored = self._address.ignored
        self.pooled = self._address.pooled
        self._warn()

    @property
    def role_settings(self) -> dict[str, str]:
        """The settings that must be set on the role if a pooler refuses them."""
        wanted = {**self.settings, **self._unsure}
        return {
            name: wanted[name] for name in wanted if name not in ("application_name", "options")
        }

    @property
    def server(self) -> str:
        """The server's address without secrets, to be shown in messages."""
        return self._address.server

    def fall_back(self) -> None:
        """Assume a pooler from now on. Call this if prepared statements were lost or mixed up."""
        if not self.pooled:
            log.warning("a pooler is in front of the database; statements are not prepared")
        self.pooled = True

    async def connect(
        self, *_: object, timeout_s: float | None = CONNECT_TIMEOUT_S, **arguments: Any
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect within `timeout_s` seconds, or within the address's own limit if it is shorter.

        The hosts of the address are tried in their order. Each gets an equal part of the time, so a
        host that does not answer leaves time for the next. `arguments` go to `asyncpg.connect`.
        Raises asyncpg's errors and TimeoutError.
        """
        limits = [each for each in (timeout_s, self._address.timeout_s) if each is not None]
        limit_s = min(limits) / len(self._address.dsns) if limits else None
        *others, last = self._address.dsns
        for dsn in others:
            with suppress(*NEXT_HOST):
                return await self._connect_to(dsn, limit_s, arguments)
        return await self._connect_to(last, limit_s, arguments)

    async def _connect_to(
        self, dsn: str, limit_s: float | None, arguments: dict[str, Any]
    ) -> "asyncpg.Connection[asyncpg.Record]":
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    connection = await self._connect_once(dsn, arguments)
                except asyncpg.PostgresError as error:
                    if not self._learn(error):
                        raise
                else:
                    self._set_options(connection)
                    return connection

    async def _connect_once(
        self, dsn: str, arguments: dict[str, Any]
    ) -> "asyncpg.Connection[asyncpg.Record]":
        given: dict[str, Any] = {**self._address.arguments, **arguments}
        if self.pooled:
            # PgBouncer accepts only `application_name`. The other settings apply only if they are
            # set on the database role.
            name = self.settings.get("application_name")
            given["server_settings"] = {} if name is None else {"application_name": name}
            given["statement_cache_size"] = 0
        else:
            given["server_settings"] = {**self.settings, **self._unsure, MARK[0]: MARK[1]}
            if (size := self._address.statement_cache_size) is not None:
                given["statement_cache_size"] = size
        given["connection_class"] = Session
        given["timeout"] = None  # the time limit in _connect_to covers all attempts together
        return await asyncpg.connect(dsn, **given)

    def _learn(self, error: asyncpg.PostgresError) -> bool:
        """Drop the settings that the server refuses; return whether a retry may succeed."""
        if NO_POOLER_SETS in str(error) and not self.pooled:
            self.pooled = True
            return True
        if error.sqlstate in UNKNOWN_SETTING and self._unsure and not self.pooled:
            named = [name for name in self._unsure if name in str(error)]
            if not named and error.sqlstate == "42501":  # the role may not use the database
                return False
            for name in named or list(self._unsure):
                del self._unsure[name]
                self.ignored = (*self.ignored, name)
            self._warn()
            return True
        return False

    def _warn(self) -> None:
        if self.ignored and self.ignored not in _warned:  # a process with two pools warns once
            _warned.add(self.ignored)
            log.warning(
                "parameters of the database's address are ignored", words=list(self.ignored)
            )

    def _set_options(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Set the socket options of the address, for which asyncpg has no parameters."""
        # `_transport` is private in asyncpg, which has no public access to the socket.
        transport: Any = getattr(connection, "_transport", None)
        found = None if transport is None else transport.get_extra_info("socket")
        if found is None or found.family.name == "AF_UNIX":
            return
        for level, option, value in self._address.socket_options:
            found.setsockopt(level, option, value)
