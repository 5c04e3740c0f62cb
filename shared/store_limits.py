"""Time limits for single calls of the store, shorter than those of the store's client.

When such a limit ends, it cancels the call. A cancelled call is not a fault of the store by itself.
This module lets it be recorded as a fault. So an outage is logged even if a store accepts
connections and never answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

NO_ANSWER: Final = "no answer in time"

_limits: ContextVar[tuple[tuple[asyncio.Timeout, str], ...]] = ContextVar("_limits", default=())
"""The time limits of the running task, the outermost first. Each has the fault that is recorded if
the limit ends."""


@asynccontextmanager
async def store_limit(seconds: float, fault: str = NO_ANSWER) -> AsyncIterator[None]:
    """Raise TimeoutError if the block takes longer than `seconds`; replaces `asyncio.timeout`.

    If the block waits for the store when the limit ends, `shared.store_faults` records and counts
    `fault`, so `fault` must hold no secret. If the block waits for something else then, no fault of
    the store is recorded.
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
