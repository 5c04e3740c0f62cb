"""Connections that stay taken out of their pool between two statements.

asyncpg makes a task, a timer and a future each time a connection goes back to its pool: that costs
as much CPU as a short statement. So a connection is kept for the next statement, and goes back
after KEPT_USES statements, KEPT_S seconds, any error, or as soon as anyone waits for the pool.
"""

import asyncio
import time
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

KEPT_USES = 100
"""How many statements a connection serves until it goes back, so that the pool's own rules hold:
it replaces connections after 50,000 statements and closes those that are idle for five minutes."""

KEPT_S = 1.0

TIMEOUT_S = 2.0
"""How long a connection may take to be ready, and to go back."""

Taken: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


class Kept:
    """Takes connections of one pool and gives them back, with as little work as can be.

    Each `take` must be followed by `give` after success, or by `give_back` after an error.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._free: list[tuple[Taken, int, float]] = []
        self._uses: dict[Taken, tuple[int, float]] = {}
        self._waiting = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def take(self) -> Taken:
        """Take a connection; raises what asyncpg's `acquire` does, TimeoutError after 2 s."""
        while self._free:
            connection, uses, since = self._free.pop()
            if _is_open(connection):
                self._uses[connection] = (uses + 1, since)
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            # A timer costs more than taking an idle connection, for which nobody waits.
            waits = None if self._pool.get_idle_size() else TIMEOUT_S
            connection = await self._pool.acquire(timeout=waits)
        finally:
            self._waiting -= 1
        self._uses[connection] = (1, time.monotonic())
        return connection

    async def give(self, connection: Taken) -> None:
        """Keep a connection for the next statement, or give it back where that is due."""
        uses, since = self._uses[connection]
        if (
            self._waiting
            or self._closed
            or uses >= KEPT_USES
            or time.monotonic() > since + KEPT_S
            or not _is_open(connection)
            or connection.is_in_transaction()
        ):
            await self.give_back(connection)
            return
        del self._uses[connection]
        self._free.append((connection, uses, since))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._look)

    async def give_back(self, connection: Taken) -> None:
        """Give a connection back to the pool, which mends or closes it if it has to."""
        self._uses.pop(connection, None)
        await self._pool.release(connection, timeout=TIMEOUT_S)

    async def give_all_back(self) -> None:
        """Give back every connection that waits here; may be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        free, self._free = self._free, []
        for connection, _, _ in free:
            await self._pool.release(connection, timeout=TIMEOUT_S)
        await asyncio.gather(*self._returning, return_exceptions=True)

    async def close(self) -> None:
        """Keep nothing from now on; may be repeated."""
        self._closed = True
        await self.give_all_back()

    def _look(self) -> None:
        now = time.monotonic()
        due = [one for one in self._free if now >= one[2] + KEPT_S]
        self._free = [one for one in self._free if now < one[2] + KEPT_S]
        loop = asyncio.get_running_loop()
        for connection, _, _ in due:
            task = loop.create_task(self._pool.release(connection, timeout=TIMEOUT_S))
            self._returning.add(task)
            task.add_done_callback(self._returned)
        self._timer = loop.call_later(KEPT_S, self._look) if self._free else None

    def _returned(self, task: "asyncio.Task[None]") -> None:
        self._returning.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the pool has ended the connection


def _is_open(connection: Taken) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it out of our hands, since it ended
        return False
