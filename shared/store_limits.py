"""Time limits for single calls of the store, shorter than those of the store's client.

A call that takes longer is cancelled, and a fault of the store is recorded. So an outage is logged
even if a store accepts connections and never answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

NO_ANSWER: Final = "no answer in time"

_limits: ContextVar[tuple[tuple[asyncio.Timeout, str], ...]] = ContextVar("_limits", default=())
"""The time limits of the running task, the outermost first. Each has the name of the fault that is
recorded when the time is over."""


@asynccontextmanager
async def store_limit(seconds: float, fault: str = NO_ANSWER) -> AsyncIterator[None]:
    """Raise TimeoutError if a block with calls of the store takes longer than `seconds`.

    If the block is waiting for the store when the time is over, `shared.store_faults` records and
    counts `fault`. If the block is waiting for something else, nothing is recorded. `fault` is
    logged, so it must contain no secret.
    """
    async with asyncio.timeout(seconds) as limit:
        token = _limits.set((*_limits.get(), (limit, fault)))
        try:
            yield
        finally:
            _limits.reset(token)


def ended_limit() -> str | None:
    """Return the fault of the limit that has cancelled the running task, or None."""
    return next((fault for limit, fault in _limits.get() if limit.expired()), None)
