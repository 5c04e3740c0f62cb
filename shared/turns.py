"""Divide a limited number of places, such as connections or decoders, fairly among keys.

A key is usually an organization. If a key requests more places than it may have, its callers wait
in a queue of their own, so the key delays only itself.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from shared.errors import Busy

WAIT_S = 2.0


class Turns:
    """Gives out `places` places, at most `each` of them to one key at the same time.

    At most `waiting` callers of one key wait, each for at most `wait_s` seconds. A free place goes
    to the waiting key whose last turn was longest ago. The last `newcomers` free places go only to
    keys that hold no place.
    """

    def __init__(
        self,
        places: int,
        *,
        each: int,
        waiting: int = 1000,
        wait_s: float = WAIT_S,
        newcomers: int = 0,
    ) -> None:
        self._free = places
        self._each = each
        self._waiting = waiting
        self._wait_s = wait_s
        self._newcomers = newcomers
        self._held: dict[Hashable, int] = {}
        # Only the keys whose callers wait. The first of these keys that may take a place gets the
        # next place.
        self._queues: dict[Hashable, deque[tuple[asyncio.Future[None], float]]] = {}
        self._watching = False

    async def take(self, key: Hashable) -> None:
        """Take a place, and wait for it if necessary. Call `give_back(key)` after use.

        Raises Busy if too many callers of the key wait, or if no place becomes free in time.
        """
        if not self.take_free(key):
            await self.wait(key)

    def has_room(self, key: Hashable, more: int) -> bool:
        """Return whether `more` further callers of a key could wait now. `take` checks again."""
        return len(self._queues.get(key, ())) + more <= self._waiting

    def take_free(self, key: Hashable) -> bool:
        """Take a place if one is free. If this returns True, call `give_back(key)` after use."""
        if key in self._queues or not self._may_take(key):
            return False
        self._free -= 1
        self._held[key] = self._held.get(key, 0) + 1
        return True

    def _may_take(self, key: Hashable) -> bool:
        held = self._held.get(key, 0)
        return self._free > (self._newcomers if held else 0) and held < self._each

    async def wait(self, key: Hashable) -> None:
        """Wait for a place after `take_free` returned False. Raises Busy as `take` does."""
        queue = self._queues.setdefault(key, deque())
        if len(queue) >= self._waiting:
            raise Busy(own=True)
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        queue.append((place, loop.time() + self._wait_s))
        if not self._watching:
            self._watching = True
            loop.call_later(self._wait_s, self._expire)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(key, place)
            elif place.exception() is None:
                self.give_back(key)  # the place was given just before the cancellation
            raise

    def _leave(self, key: Hashable, place: "asyncio.Future[None]") -> None:
        left = deque(one for one in self._queues.get(key, ()) if one[0] is not place)
        if left:
            self._queues[key] = left
        else:
            self._queues.pop(key, None)

    def _expire(self) -> None:
        # One timer for all callers, because a timer for each would cost more than most waits.
        loop = asyncio.get_running_loop()
        for key, queue in list(self._queues.items()):
            while queue and queue[0][1] <= loop.time():
                place, _ = queue.popleft()
                if not place.done():
                    own = self._held.get(key, 0) >= self._each
                    place.set_exception(Busy(own=own, waited=True))
            if not queue:
                del self._queues[key]
        self._watching = bool(self._queues)
        if self._watching:
            next_end = min(queue[0][1] for queue in self._queues.values())
            loop.call_at(next_end, self._expire)

    def give_back(self, key: Hashable) -> None:
        """Return a place. The next caller in turn gets it at once."""
        self._free += 1
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]
        if self._queues:
            self._serve()

    def _serve(self) -> None:
        while self._free:
            for key in self._queues:
                if self._may_take(key):
                    break
            else:
                return
            queue = self._queues.pop(key)
            place, _ = queue.popleft()
            if queue:
                self._queues[key] = queue  # moves the key to the end of the order
            if not place.done():
                place.set_result(None)
                self._free -= 1
                self._held[key] = self._held.get(key, 0) + 1

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Hold a place during the block. Raises Busy as `take` does."""
        await self.take(key)
        try:
            yield
        finally:
            self.give_back(key)
