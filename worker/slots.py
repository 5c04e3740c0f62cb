"""The places of a worker's uploads in flight, shared between what the broker brings and the sweep.

A quarter is kept for the sweep: however many wake-ups wait, what a dead worker had, what was lost
and what is to be tried again are taken up in their time. With the broker away the sweep has all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """Counts who is in flight; at most `total`, which is 2 or more."""

    def __init__(self, total: int) -> None:
        kept = max(1, total // 4)
        self._total = total
        self._for_woken = total - kept
        self._batch = max(1, kept // 2)
        self._woken = 0
        self._swept = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def of_woken(self) -> AsyncIterator[None]:
        """Wait for a place for what the broker brought, and hold it."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._woken < self._for_woken and self._woken + self._swept < self._total
            )
            self._woken += 1
        try:
            yield
        finally:
            self._woken -= 1
            await self._tell()

    def take_for_sweep(self) -> int:
        """Take every place that is free, for the sweep; returns how many those are."""
        free = self._total - self._woken - self._swept
        self._swept += free
        return free

    async def give_back(self, count: int = 1) -> None:
        """Give back places that the sweep has taken."""
        self._swept -= count
        await self._tell()

    async def wait_for_sweep(self) -> None:
        """Wait until so many places are free that another sweep is worth its statement."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._total - self._woken - self._swept >= self._batch
            )

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
