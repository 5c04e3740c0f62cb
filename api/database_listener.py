"""Receive PostgreSQL's notifications over one connection, which is tested every two seconds.

One channel has notifications about changed tokens. Other channels can be added, for example for
settled attachments.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping

from api.pauses import is_set_within
from shared.connector import Connector
from shared.database import SERVER_SETTINGS, Connection, Database, DatabaseAway
from shared.log import get_logger
from shared.settings import Settings
from shared.tokens import CHANNEL, notify

CONNECT_TIMEOUT_S = 2.0
LISTEN_AGAIN_S = 1.0
TEST_EVERY_S = 2.0
ECHO_TIMEOUT_S = 3.0

log = get_logger(__name__)


class _NotNotified(Exception):
    """The database accepted a test notification, but the notification did not arrive."""


class _Pooled(Exception):
    """The connection goes through a pooler, which may use another session for each transaction."""


class Listener:
    """Calls `on_change` when a token has changed, and when a change may have been missed.

    Every two seconds, a test notification is sent over the pool and must arrive at the listening
    connection. The test detects a connection that broke unnoticed. It also detects an unrecognised
    pooler, which accepts LISTEN but delivers no notification. `hears` is true while test
    notifications arrive.

    `also` maps further channels to functions that get the payloads. `on_gap` is called when a
    notification of one of these channels may have been missed.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        on_change: Callable[[], None],
        *,
        also: Mapping[str, Callable[[str], None]] | None = None,
        on_gap: Callable[[], None] = lambda: None,
    ) -> None:
        names = {**SERVER_SETTINGS, "application_name": "attachments-tokens"}
        self._connector = Connector(settings.session_url, names)
        self._database = database
        self._on_change = on_change
        self._also = also or {}
        self._on_gap = on_gap
        self._failures = 0
        self._lost = False
        self.hears = False

    async def run(self) -> None:
        """Listen until cancelled. Logs once when notifications are lost, and once when they work
        again.

        While the database is unavailable, only `shared.outages` logs the outage.

        Returns if the database is reached through a pooler. There, LISTEN would stay active in a
        session that the pooler later gives to other clients.
        """
        while True:
            try:
                await self._listen()
            except _Pooled:
                log.warning(
                    "no notifications of tokens through a pooler: a change takes effect within 5 s",
                    mend="set ATTACHMENTS_DATABASE_DIRECT_URL to an address without it",
                )
                return
            except Exception as error:  # even after an unknown error, the next attempt may succeed
                await self._log_loss(error)
            self.hears = False
            self._on_change()
            self._on_gap()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _listen(self) -> None:
        connection = await self._connector.connect(command_timeout=CONNECT_TIMEOUT_S)
        try:
            if self._connector.pooled:
                raise _Pooled
            heard = asyncio.Event()
            closed = asyncio.Event()
            # Each process tests with its own channel, so it does not get other processes' tests.
            echo = f"{CHANNEL}_{secrets.token_hex(8)}"
            connection.add_termination_listener(lambda *_: closed.set())
            await connection.add_listener(CHANNEL, lambda *_: self._on_change())
            await connection.add_listener(echo, lambda *_: heard.set())
            for channel, heed in self._also.items():
                # the arguments are: connection, process id, channel, payload
                await connection.add_listener(channel, lambda *a, heed=heed: heed(str(a[3])))
            # A change before LISTEN took effect caused no notification. So assume a change.
            self._on_change()
            self._on_gap()
            while True:
                await self._test(echo, heard)
                if await is_set_within(closed, TEST_EVERY_S):
                    raise ConnectionResetError
        finally:
            connection.terminate()

    async def _log_loss(self, error: Exception) -> None:
        """Log once that notifications are lost, if other connections to the database work."""
        if self._lost:
            return
        try:
            await self._database.run_within(ECHO_TIMEOUT_S, _answer)
        except DatabaseAway:
            self._failures = 0
            return
        # The first failure is not logged: a database that has just become available again may have
        # rejected this connection shortly before.
        self._failures += 1
        if isinstance(error, _NotNotified) or self._failures > 1:
            fault = str(error) if isinstance(error, _NotNotified) else type(error).__name__
            log.warning("cannot listen for changes of tokens", error=fault)
            self._lost = True

    async def _test(self, echo: str, heard: asyncio.Event) -> None:
        heard.clear()
        try:
            await self._database.run_within(ECHO_TIMEOUT_S, notify, echo)
        except DatabaseAway:
            return  # no test notification was sent, so a missing one proves nothing
        if not await is_set_within(heard, ECHO_TIMEOUT_S):
            raise _NotNotified("a notification did not arrive")
        self.hears = True
        if self._lost:
            log.warning("listening for changes of tokens again")
        self._lost, self._failures = False, 0


async def _answer(connection: Connection) -> None:
    await connection.execute("SELECT 1")
