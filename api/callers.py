"""A cache of the callers that this process has looked up by token. An entry lasts five seconds.

After a change of a token, a notification of PostgreSQL (`api.database_listener`) clears the cache
within milliseconds. If the notification is lost, the limit of five seconds still holds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from shared.database import Database
from shared.errors import AttachmentsError
from shared.tokens import Caller, Found, find_caller

REMEMBERED_S = 5.0
MAX_REMEMBERED = 10_000

STRANGER_S = 1.0
"""Time, in seconds, that the look-up of an unknown token may wait for its turn."""


class TooManyLookUps(AttachmentsError):
    """The look-up of an unknown token did not get its turn within STRANGER_S."""


class Turns:
    """Limits concurrent look-ups of unknown tokens: `limit` in all, and half of it for one source.

    A source is a client's address. Each look-up uses a connection of the database pool. Without a
    limit, a flood of invented tokens would use up all connections.
    """

    def __init__(self, limit: int) -> None:
        self._all = asyncio.Semaphore(limit)
        self._of_one = max(1, limit // 2)
        self._sources: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def take(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it during the block. Raises TooManyLookUps after STRANGER_S."""
        own, users = self._sources.get(source, (asyncio.Semaphore(self._of_one), 0))
        self._sources[source] = (own, users + 1)
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(STRANGER_S):
                        await held.enter_async_context(own)
                        await held.enter_async_context(self._all)
                except TimeoutError:
                    raise TooManyLookUps from None
                yield
        finally:
            own, users = self._sources.pop(source)
            if users > 1:
                self._sources[source] = (own, users - 1)


class Tokens:
    """Finds callers by their tokens. A caller is cached for up to five seconds.

    `clock` returns monotonic seconds. `on_use` is called with a token's id after each query that
    found the token. `strangers` is the maximum number of concurrent queries for unknown tokens. A
    token is unknown if this process has not found it before.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_use: Callable[[int], None] = lambda _: None,
        strangers: int = 3,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_use = on_use
        self._remembered: dict[bytes, tuple[Caller, float]] = {}
        self._running: dict[bytes, tuple[float, asyncio.Task[Caller | None]]] = {}
        self._changes = 0
        self._turns = Turns(strangers)
        # Tokens that were found before. Their look-ups do not wait for look-ups of unknown
        # tokens.
        self._known: dict[bytes, None] = {}

    async def find(self, token_digest: bytes, *, source: Callable[[], str] = str) -> Caller | None:
        """Return the caller of a token; None if the token is unknown, revoked or expired.

        The answer is at most five seconds old. `source` returns the source of the request, see
        `api.clients.source_of`. Raises DatabaseAway, and TooManyLookUps for an unknown token.
        """
        now = self._clock()
        remembered = self._remembered.get(token_digest)
        if remembered is not None and now < remembered[1]:
            return remembered[0]
        running = self._running.get(token_digest)
        if running is None or now >= running[0] + REMEMBERED_S:
            task = asyncio.create_task(self._look_up(token_digest, now, self._changes, source))
            running = self._running[token_digest] = (now, task)
            task.add_done_callback(lambda _: self._end(token_digest, task))
        # Several requests share this task. If one of them is cancelled, the task continues for the
        # others.
        return await asyncio.shield(running[1])

    def forget(self) -> None:
        """Clear the cache, because a token has changed.

        A look-up in progress may have read the row before the change. Only the requests that
        already wait for the look-up get its result, and the result is not cached.
        """
        self._changes += 1
        self._remembered.clear()
        self._running.clear()

    async def _look_up(
        self, token_digest: bytes, began: float, changes: int, source: Callable[[], str]
    ) -> Caller | None:
        if token_digest in self._known:
            found = await self._database.run(find_caller, token_digest)
        else:
            async with self._turns.take(source()):
                found = await self._database.run(find_caller, token_digest)
        if found is None:
            self._known.pop(token_digest, None)
            # An earlier look-up may have put the token into the cache. Remove it.
            self._remembered.pop(token_digest, None)
            return None
        # Remove the token and add it again, so that it is at the end of the dict. The first token
        # is the one whose last look-up is the oldest.
        self._known.pop(token_digest, None)
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[token_digest] = None
        self._on_use(found.caller.token_id)
        if changes == self._changes:
            self._remember(token_digest, found, began)
        return found.caller

    def _remember(self, token_digest: bytes, found: Found, began: float) -> None:
        # The time counts from `began`, before the query, so no caller is cached for too long.
        good_s = REMEMBERED_S
        if found.seconds_left is not None:
            good_s = min(good_s, found.seconds_left)
        # Remove the token and add it again, so that it is at the end of the dict.
        self._remembered.pop(token_digest, None)
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[token_digest] = (found.caller, began + good_s)

    def _end(self, token_digest: bytes, task: "asyncio.Task[Caller | None]") -> None:
        running = self._running.get(token_digest)
        if running is not None and running[1] is task:
            del self._running[token_digest]
        if not task.cancelled():
            # Reading the exception marks it as retrieved. Otherwise asyncio logs it if no request
            # waits.
            task.exception()
