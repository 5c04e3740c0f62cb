"""Keep a database connection after a statement for the next statement, to save CPU.

asyncpg creates a task, a timer and a future each time a connection is released to its pool. That
costs as much CPU as a short statement. So a connection is kept out of the pool for a while. It is
released after KEPT_USES statements, after KEPT_S seconds, after any error, or when a caller waits
for the pool.
"""

import asyncio
import time
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.metrics import DATABASE_WAIT_SECONDS

KEPT_USES = 100
"""The number of statements after which a connection is released. The release lets the pool replace
a connection after 50,000 statements, or close it after five idle minutes."""

KEPT_S = 1.0

TIMEOUT_S = 2.0
"""The time limit for taking a connection from the pool, and for its release, in seconds."""

Taken: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


class Lease:
    """One connection that is taken from its pool.

    `ends` is the time, in monotonic seconds, from which the connection must return to the pool.
    `epoch` is the number of earlier calls of `Kept.renew`. After a later call, the connection is
    not kept any more.
    """

    __slots__ = ("connection", "ends", "epoch", "uses")

    def __init__(self, connection: Taken, epoch: int) -> None:
        self.connection = connection
        self.epoch = epoch
        self.uses = 0
        self.ends = time.monotonic() + KEPT_S


class Kept:
    """Takes connections from one pool and releases them, with as little CPU as possible.

    After a success, pass the connection to `keep`. If `keep` returns False, or after an error, pass
    the connection to `give_back`.
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
        """Return a connection that is kept here, or None."""
        while self._free:
            lease = self._free.pop()
            if _is_open(lease.connection):
                return lease  # a closed connection is dropped here: the pool has it back already
        return None

    async def take(self) -> Lease:
        """Take a connection from the pool. Raises asyncpg's errors, and TimeoutError after 2 s."""
        # No timer is set if a connection is idle: taking it does not wait, and a timer would cost
        # more than taking the connection.
        if self._pool.get_idle_size():
            return await self._acquire(None)
        with DATABASE_WAIT_SECONDS.time():
            return await self._acquire(TIMEOUT_S)

    async def _acquire(self, timeout_s: float | None) -> Lease:
        self._waiting += 1
        epoch = self._epoch
        try:
            return Lease(await self._pool.acquire(timeout=timeout_s), epoch)
        finally:
            self._waiting -= 1

    @property
    def spare(self) -> int:
        """The number of connections that are kept here for the next statement."""
        return len(self._free)

    def keep(self, lease: Lease) -> bool:
        """Keep a connection for the next statement. Returns False if it must be released."""
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
        """Release a connection to the pool, which resets or closes it if necessary.

        The release goes on if the caller is cancelled. `_returned` then reads the exception of the
        release, because asyncio would log an unread exception with a traceback.
        """
        releasing = asyncio.create_task(self._pool.release(lease.connection, timeout=TIMEOUT_S))
        self._note_return(releasing)
        await asyncio.shield(releasing)

    async def give_all_back(self) -> None:
        """Release all connections that are kept here. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        free, self._free = self._free, []
        # Exceptions are collected: if one release fails, the others must still reach the pool.
        returning = [self.give_back(lease) for lease in free]
        await asyncio.gather(*returning, *self._returning, return_exceptions=True)

    async def renew(self) -> None:
        """Use only new connections for later statements. May be repeated.

        A connection that is in use now is released after its statement, and the pool closes it.
        """
        self._epoch += 1
        await self._pool.expire_connections()
        await self.give_all_back()

    async def close(self) -> None:
        """Release all connections, and keep none from now on. May be repeated."""
        self._closed = True
        await self.give_all_back()

    def _look(self) -> None:
        now, loop = time.monotonic(), asyncio.get_running_loop()
        due = [lease for lease in self._free if now >= lease.ends]
        self._free = [lease for lease in self._free if now < lease.ends]
        for lease in due:
            self._note_return(loop.create_task(self.give_back(lease)))
        self._timer = loop.call_later(KEPT_S, self._look) if self._free else None

    def _note_return(self, task: "asyncio.Task[None]") -> None:
        self._returning.add(task)
        task.add_done_callback(self._returned)

    def _returned(self, task: "asyncio.Task[None]") -> None:
        self._returning.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved; the pool has closed the connection


def _is_open(connection: Taken) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the connection was closed, so the pool took it back
        return False
