"""Limit how many database connections one organization may use at one time.

The connections that an organization may use are its share of the pool.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Concatenate

from shared.database import Connection, Database, DatabaseAway, P, T, open_database
from shared.errors import Busy
from shared.settings import Settings
from shared.turns import Turns

WAITING = 200
"""At most this many statements of one organization may wait. A further statement raises Busy at
once."""


MAX_MADE = 1000
"""Maximum number of shares that are kept for later requests, one for each key."""


class Share(Database):
    """The part of the pool that one key may use. Each statement waits for its turn."""

    def __init__(self, shares: "Shares", key: Hashable) -> None:
        self.pool = shares.whole.pool
        self.connector = shares.whole.connector
        self.full = shares.whole.full
        self._abandoned = shares.whole._abandoned
        self._run = shares.whole.run
        self._shares = shares
        self._key = key

    async def run(
        self,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do the same as `Database.run`, after waiting for a connection of the key's share.

        If no connection becomes free, raises Busy or DatabaseAway. Busy means that the key itself
        uses its whole share. DatabaseAway is raised if other keys use the connections, if
        `Shares.blamed` is false, or if no statement of any key was answered during the wait.
        """
        shares = self._shares
        if not shares.turns.take_free(self._key):
            await self._wait()
        try:
            answer = await self._run(function, *args, **kwargs)
            shares.answered_at = time.monotonic()
            return answer
        finally:
            shares.turns.give_back(self._key)

    async def _wait(self) -> None:
        shares, began = self._shares, time.monotonic()
        try:
            await shares.turns.wait(self._key)
        except Busy as error:
            silent = error.waited and shares.answered_at < began
            if error.own and shares.blamed and not silent:
                raise
            raise DatabaseAway("all connections are in use") from None


class Shares:
    """Gives each key, such as an organization, its share of a pool of `size` connections.

    A key may use `each` connections at one time, and `waiting` statements of a key may wait. If
    `blamed` is true, a key that uses its whole share gets Busy, because its own requests are the
    cause. Otherwise it gets DatabaseAway.
    """

    def __init__(
        self, whole: Database, *, size: int, each: int, waiting: int = WAITING, blamed: bool = True
    ) -> None:
        self.whole = whole
        self.turns = Turns(size, each=each, waiting=waiting)
        self.blamed = blamed
        self.answered_at = time.monotonic()
        self._made: dict[Hashable, Share] = {}

    def of(self, key: Hashable) -> Share:
        """Return the share of a key. Callers may keep it, or call this for each request."""
        share = self._made.get(key)
        if share is None:
            if len(self._made) >= MAX_MADE:
                self._made.clear()  # A share has no state of its own, so it may be made again.
            share = self._made[key] = Share(self, key)
        return share


def split_pool(total: int) -> tuple[int, int]:
    """Return how many of an API's connections are for clients, and how many for other uses.

    The other uses are events, tokens and health. They get three connections in ten, but at least
    one.
    """
    others = max(1, total * 3 // 10)
    return total - others, others


def share_of(clients: int) -> int:
    """Return how many of the clients' connections one organization may use at one time.

    The result is two thirds of `clients`. If it were less, each request of an organization would
    take more CPU time, even while no other organization is active.
    """
    return max(1, clients * 2 // 3)


def share_of_others(others: int) -> int:
    """Return how many connections each of events, tokens and health may use at one time.

    These three share `others` connections. Each may use all except one, so that it does not block
    the other two.
    """
    return max(1, others - 1)


@asynccontextmanager
async def open_shares(settings: Settings) -> AsyncIterator[tuple[Shares, Shares]]:
    """Open an API's two pools: for clients by organization, and for events, tokens and health.

    Together they have `settings.database_pool` connections. One organization may use at most two
    thirds of the clients' connections. Even many look-ups of unknown tokens do not block events.
    """
    clients, others = split_pool(settings.database_pool)
    async with AsyncExitStack() as stack:
        yield (
            Shares(
                await stack.enter_async_context(open_database(settings, size=clients)),
                size=clients,
                each=share_of(clients),
            ),
            Shares(
                await stack.enter_async_context(open_database(settings, size=others)),
                size=others,
                each=share_of_others(others),
                waiting=10_000,
                blamed=False,
            ),
        )
