"""Notifications of PostgreSQL that a token has changed, over a connection that is tested."""

import asyncio
import secrets
from collections.abc import Callable

from shared.connector import Connector
from shared.database import SERVER_SETTINGS, Database, DatabaseAway
from shared.log import get_logger
from shared.settings import Settings
from shared.tokens import CHANNEL, notify

CONNECT_TIMEOUT_S = 2.0
LISTEN_AGAIN_S = 1.0
TEST_EVERY_S = 2.0
ECHO_TIMEOUT_S = 3.0

log = get_logger(__name__)


class _Deaf(Exception):
    """The connection is closed, or a notification did not arrive."""


class _Pooled(Exception):
    """The connection leads to a pooler, whose sessions may change with every transaction."""


class Listener:
    """Calls `on_change` whenever a token has changed, and when a change may have been missed.

    Every two seconds a notification is sent over the pool and must arrive at the listening
    connection. That finds a connection that died without a sign, and a pooler that is not known
    as one, which accepts LISTEN but delivers nothing. `hears` is true once one arrived.
    """

    def __init__(
        self, settings: Settings, database: Database, on_change: Callable[[], None]
    ) -> None:
        names = {**SERVER_SETTINGS, "application_name": "attachments-tokens"}
        self._connector = Connector(settings.session_url, names)
        self._database = database
        self._on_change = on_change
        self._lost = False
        self.hears = False

    async def run(self) -> None:
        """Listen for ever; the loss of the notifications is logged once, and so is their return.

        Returns if a pooler is in front of the database: LISTEN would be left behind in a session
        that others use.
        """
        while True:
            try:
                await self._listen()
            except _Pooled:
                log.warning(
                    "no notifications of tokens through a pooler: a change takes up to 5 s",
                    mend="set ATTACHMENTS_DATABASE_DIRECT_URL to an address without it",
                )
                return
            except Exception as error:  # whatever it is, the next attempt may succeed
                if not self._lost:
                    what = str(error) if isinstance(error, _Deaf) else type(error).__name__
                    log.warning("cannot listen for tokens", error=what)
                self._lost = True
            self.hears = False
            self._on_change()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _listen(self) -> None:
        connection = await self._connector.connect(command_timeout=CONNECT_TIMEOUT_S)
        try:
            if self._connector.pooled:
                raise _Pooled
            heard = asyncio.Event()
            closed = asyncio.Event()
            # A channel of this process, so that the tests of others do not wake it up.
            echo = f"{CHANNEL}_{secrets.token_hex(8)}"
            connection.add_termination_listener(lambda *_: closed.set())
            await connection.add_listener(CHANNEL, lambda *_: self._on_change())
            await connection.add_listener(echo, lambda *_: heard.set())
            self._on_change()  # for what changed before LISTEN took effect
            while True:
                await self._test(echo, heard)
                if await _wait(closed, TEST_EVERY_S):
                    raise _Deaf("the connection was closed")
        finally:
            connection.terminate()

    async def _test(self, echo: str, heard: asyncio.Event) -> None:
        heard.clear()
        try:
            await self._database.run_within(ECHO_TIMEOUT_S, notify, echo)
        except DatabaseAway:
            return  # nothing was sent, so silence proves nothing
        if not await _wait(heard, ECHO_TIMEOUT_S):
            raise _Deaf("a notification did not arrive")
        self.hears = True
        if self._lost:
            log.info("listens for tokens again")
        self._lost = False


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
