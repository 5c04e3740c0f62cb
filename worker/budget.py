"""Limit the bytes of large files that wait on disk for a decoder, with a fair part for each
organization.

Without a limit, a worker would fetch one large file for each slot, although it usually has fewer
decoders than slots.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from worker.stages import measured

SHARE_KEPT: Final = 8
"""If the next file is too large for the free bytes, smaller files may get bytes before it. These
smaller files together hold at most 1/8 of the budget, so that the large file gets its turn. One
organization holds at most 7/8 of the budget."""


@dataclass(slots=True, eq=False)
class Hold:
    """The bytes of the budget that one file holds or waits for.

    `passed` is true if the file got its bytes before a larger file whose turn came first.
    """

    organization: int
    cost: int
    granted: asyncio.Future[None]
    passed: bool = False


class Budget:
    """Lets files hold at most `total` bytes at one time. Organizations that wait take turns.

    A file that is larger than the maximum of one organization is counted as that maximum.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._kept = total // SHARE_KEPT
        self._used = 0
        self._passing = 0
        self._held: Counter[int] = Counter()
        # The files that wait, by organization. The organization whose turn is next comes first.
        self._waiting: dict[int, deque[Hold]] = {}

    @asynccontextmanager
    async def hold(
        self, organization: int, size: int, *, before_wait: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Hold `size` bytes of the budget for a file during the block.

        If there is no room yet, first await `before_wait`, then wait.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hold = Hold(organization, min(size, self._total - self._kept), future)
        self._waiting.setdefault(organization, deque()).append(hold)
        self._serve()
        try:
            if not future.done():
                with measured("room_wait"):
                    await before_wait()
                    await future
            yield
        finally:
            self._end(hold)
            self._serve()

    def _end(self, hold: Hold) -> None:
        """Free the bytes of a file, or withdraw the file if it still waits."""
        waiting = self._waiting.get(hold.organization, deque())
        if hold in waiting:
            waiting.remove(hold)
            if not waiting:
                del self._waiting[hold.organization]
            return
        self._used -= hold.cost
        self._passing -= hold.cost * hold.passed
        self._held[hold.organization] -= hold.cost
        if not self._held[hold.organization]:
            del self._held[hold.organization]

    def _serve(self) -> None:
        while (found := self._next()) is not None:
            hold, hold.passed = found[0], found[1]
            waiting = self._waiting.pop(hold.organization)
            waiting.popleft()
            if waiting:
                # put the organization at the end of the dict, so its next turn comes last
                self._waiting[hold.organization] = waiting
            self._used += hold.cost
            self._passing += hold.cost * hold.passed
            self._held[hold.organization] += hold.cost
            if not hold.granted.done():  # a cancelled task frees these bytes itself
                hold.granted.set_result(None)

    def _next(self) -> tuple[Hold, bool] | None:
        """Return the next file for which there is room, and True if a larger file waits before it.

        Returns None if no file that waits can get its bytes now.
        """
        passes = False
        for organization, waiting in self._waiting.items():
            hold = waiting[0]
            if self._held[organization] + hold.cost > self._total - self._kept:
                continue  # its organization already holds too many bytes
            room = self._used + hold.cost <= self._total
            if room and not (passes and self._passing + hold.cost > self._kept):
                return hold, passes
            passes = True
        return None
