"""Time limits for calls of the store, shorter than the limits of the store's client.

A limit that ends cancels the call. Without this module the cancelled call would not look like a
fault of the store: a store that accepts connections and never answers would not be an outage.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

NO_ANSWER: Final = "no answer in time"

_limits: ContextVar[tuple[tuple[asyncio.Timeout, str], ...]] = ContextVar("_limits", default=())
"""The limits of the running task, the outermost first, each with the fault that its end means."""


@asynccontextmanager
async def store_limit(seconds: float, fault: str = NO_ANSWER) -> AsyncIterator[None]:
    """Raise TimeoutError if the block takes longer; use it in place of `asyncio.timeout`.

    If the block waits for the store at that moment, `shared.store_faults` records and counts
    `fault`, which must hold no secret. If it waits for anything else, the store has no fault.
    """
    async with asyncio.timeout(seconds) as limit:
        token = _limits.set((*_limits.get(), (limit, fault)))
        try:
            yield
        finally:
            _limits.reset(token)


def ended_limit() -> str | None:
    """Return the fault of the limit that has cancelled the running task; None if none has."""
    return next((fault for limit, fault in _limits.get() if limit.expired()), None)
