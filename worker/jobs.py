"""The tasks that a stopping worker waits for."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class Jobs:
    """The tasks that still run, and the flag `stopping`: true once the worker stops.

    `stopping` may be set from any thread. Everything else may be used only inside the event loop.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task that `end` waits for.

        The task gets an empty context. Otherwise it would inherit the log fields of another
        attempt, because the attempt that frees a slot also starts the next task.
        """
        job = asyncio.create_task(work, context=Context())
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        return job

    async def end(self, within_s: float) -> None:
        """Wait up to `within_s` seconds until all jobs have ended, then cancel the rest."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + within_s
        # More jobs may start meanwhile: those of rows that a sweep has just taken.
        while self._running and loop.time() < give_up_at:
            await asyncio.wait(self._running, timeout=give_up_at - loop.time())
        rest = set(self._running)
        for job in rest:
            job.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
