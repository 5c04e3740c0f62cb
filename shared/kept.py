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


class Lease:
    """A connection that is out of its pool, and until when it may stay out.

    `epoch` is that of Kept when it was asked for.
    """

    __slots__ = ("connection", "ends", "epoch", "uses")

    def __init__(self, connection: Taken, epoch: int) -> None:
        self.connection = connection
        self.epoch = epoch
        self.uses = 0
        self.ends = time.monotonic() + KEPT_S


class Kept:
    """Takes connections of one pool and gives them back, with as little work as can be.

    Each one that is taken must go to `keep` after success (and, if that is refused, to
    `give_back`), or to `give_back` after an error.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._free: list[Lease] = []
        self._waiting = 0
        self._closed = False
        self._epoch = 0
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    def take_kept(self) -> Lease | None:
        """Take a connection that waits here; None if there is none."""
        while self._free:
            lease = self._free.pop()
            if _is_open(lease.connection):
                return lease  # one that has ended is back in its pool already
        return None

    async def take(self) -> Lease:
        """Take one out of the pool. Raises what asyncpg raises, TimeoutError after 2 s."""
        self._waiting += 1
        epoch = self._epoch
        try:
            # A timer costs more than taking an idle connection, for which nobody waits.
            waits = None if self._pool.get_idle_size() else TIMEOUT_S
            return Lease(await self._pool.acquire(timeout=waits), epoch)
        finally:
            self._waiting -= 1

    def keep(self, lease: Lease) -> bool:
        """Keep a connection for the next statement; False if it has to go back."""
        lease.uses += 1
        if (
            self._waiting
            or self._closed
            or lease.epoch != self._epoch
            or lease.uses >= KEPT_USES
            or time.monotonic() > lease.ends
            or lease.connection.is_in_transaction()
        ):
            return False
        self._free.append(lease)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._look)
        return True

    async def give_back(self, lease: Lease) -> None:
        """Give a connection back to the pool, which mends or closes it if it has to."""
        await self._pool.release(lease.connection, timeout=TIMEOUT_S)

    async def give_all_back(self) -> None:
        """Give back every connection that waits here; may be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        free, self._free = self._free, []
        # Also where one cannot be given back: those that are forgotten would be lost to the pool.
        returning = [self.give_back(lease) for lease in free]
        await asyncio.gather(*returning, *self._returning, return_exceptions=True)

    async def renew(self) -> None:
        """Serve further statements over new connections only; may be repeated.

        Connections that are in use now go back to the pool, which closes them, after their
        statement.
        """
        self._epoch += 1
        await self._pool.expire_connections()
        await self.give_all_back()

    async def close(self) -> None:
        """Keep nothing from now on; may be repeated."""
        self._closed = True
        await self.give_all_back()

    def _look(self) -> None:
        now, loop = time.monotonic(), asyncio.get_running_loop()
        due = [lease for lease in self._free if now >= lease.ends]
        self._free = [lease for lease in self._free if now < lease.ends]
        for lease in due:
            task = loop.create_task(self.give_back(lease))
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
