"""The task that divides rate limits among API processes; these tests need no broker."""

import asyncio
from typing import Any

from api.limit_shares import LimitShares
from api.rate_limit import RateLimit


async def test_a_cancellation_that_the_brokers_client_swallows_ends_the_task() -> None:
    calling = asyncio.Event()

    async def call(**_arguments: Any) -> Any:
        calling.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError from None

    async def prefix() -> str:
        return ""

    limits = RateLimit(10)
    shares = LimitShares(limits, "redis://127.0.0.1:1", prefix)
    shares._client, shares._call = None, call
    shares._script = lambda: call  # type: ignore[method-assign]  # no broker is needed
    task = asyncio.create_task(shares.run())
    limits.asked.set()
    await calling.wait()

    task.cancel()
    await asyncio.wait({task}, timeout=10)

    assert task.cancelled()
