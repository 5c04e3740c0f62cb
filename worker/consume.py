"""The other way in for events: a queue of SQS, long-polled (`attachments consume`).

A message is deleted only after what it says is committed. While the database is away messages are
kept invisible and tried again, so that an outage of ours uses up none of their receives; what can
never be stored is left to the queue's own redrive policy.
"""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import uvloop

from shared.broker import Publisher
from shared.database import Database, DatabaseAway, open_database
from shared.errors import QueueAway, SettingsError
from shared.intake import read_message, record
from shared.log import configure_logging, get_logger
from shared.settings import Settings
from worker.sqs import Queue, Received, open_queue

POLLERS = 4
"""Batches of ten that are taken side by side: some hundreds of messages a second."""

WAIT_S = 20
"""How long the queue is asked to wait for a message: the longest that SQS does."""

HOLD_S = 10
"""For how long a batch is invisible to other consumers, and anew every third of it: what a killed
consumer had in hand is taken by another after that time."""

TRY_S = 4.0
"""How long the database may take for a batch, so that a stop does not wait for one that is away."""

LONGEST_WAIT_S = 5.0
"""How long is waited at most before the next try: work goes on soon after an outage's end."""

log = get_logger(__name__)


def run(settings: Settings) -> int:
    """Consume until SIGINT or SIGTERM; returns the exit status.

    Raises SettingsError if there is no queue to consume, or if it refuses us at the first try.
    """
    if settings.sqs_queue_url is None:
        raise SettingsError("ATTACHMENTS_SQS_QUEUE_URL: is not set")
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(settings))
    return 0


async def _main(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with open_consumer(settings, stopping) as consumer:
        await consumer.check()
        log.info("consumer is ready", pollers=POLLERS)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(POLLERS):
                tasks.create_task(consumer.poll())
    log.info("consumer has stopped")


class Consumer:
    """Takes messages off the queue until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        database: Database,
        publisher: Publisher,
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._database = database
        self._publisher = publisher
        self._stopping = stopping
        self._away: set[str] = set()

    async def check(self) -> None:
        """Ask for what is there already. Raises SettingsError if the queue refuses us."""
        try:
            batch = await self._receive(wait_s=0)
        except QueueAway as error:
            if error.refused:
                raise SettingsError(
                    f"ATTACHMENTS_SQS_QUEUE_URL: the queue refuses us: {error}"
                ) from None
            self._tell("queue", str(error))
        else:
            await self._take(batch or [])

    async def poll(self) -> None:
        """Take batch after batch; one that has been received is finished before the end."""
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                batch = await self._receive(wait_s=WAIT_S)
                if batch is None:
                    return
                self._tell("queue")
                await self._take(batch)
            except QueueAway as error:
                self._tell("queue", str(error))
            except Exception:
                log.exception("unexpected error")
            else:
                failures = 0
                if not batch and time.monotonic() - began < 1:  # it does not wait as it is asked to
                    await self._pause(1)
                continue
            failures += 1
            await self._pause(failures)

    async def _receive(self, *, wait_s: int) -> list[Received] | None:
        """Take what the queue has, within `wait_s`; None if we are stopped before it answers."""
        receiving = asyncio.ensure_future(self._queue.receive(wait_s=wait_s, hide_s=HOLD_S))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else None
        finally:
            # What the queue hands out at this very moment becomes visible again by itself.
            await _end(receiving, stopped)

    async def _take(self, batch: Sequence[Received]) -> None:
        """Record a batch, for as long as that takes, and delete what is committed."""
        if not batch:
            return
        stored: list[Received] = []
        holding = asyncio.create_task(self._hold(batch))
        try:
            await self._store(batch, stored)
            back = []  # what cannot be stored comes again in its time, which its queue counts
        except DatabaseAway:
            back = [item for item in batch if item not in stored]
        finally:
            await _end(holding)
        await self._done(stored)
        await self._give_back(back)

    async def _store(self, batch: Sequence[Received], stored: list[Received]) -> None:
        """Record a batch; what is committed is added to `stored`.

        While the database is away it is tried again; raises DatabaseAway when we are stopped.
        """
        failures = 0
        while True:
            try:
                messages = [
                    read_message(item.body, source="sqs", bucket=self._settings.s3_bucket)
                    for item in batch
                ]
                woken = await self._database.run_within(TRY_S, record, messages, self._settings)
                break
            except DatabaseAway as error:
                self._tell("database", str(error))
                failures += 1
                await self._pause(failures)
                if self._stopping.is_set():
                    raise
            except Exception:
                if len(batch) == 1:
                    log.exception("a message is left to the queue", message=batch[0].id)
                else:  # one of them is to blame: each by itself, the others take effect
                    for item in batch:
                        await self._store([item], stored)
                return
        self._tell("database")
        for wake_up in woken:
            self._publisher.publish(wake_up)
        stored.extend(batch)

    async def _hold(self, batch: Sequence[Received]) -> None:
        pause_s = HOLD_S / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._queue.hide(batch, HOLD_S)
                pause_s = HOLD_S / 3
            except QueueAway as error:
                log.warning("messages may come twice", error=str(error))
                pause_s = 1

    async def _give_back(self, batch: Sequence[Received]) -> None:
        if not batch:
            return
        try:
            await self._queue.hide(batch, 0)
        except QueueAway as error:
            log.warning("messages come back later", error=str(error))

    async def _done(self, batch: Sequence[Received]) -> None:
        if not batch:
            return
        try:
            await self._queue.delete(batch)
        except QueueAway as error:  # they come once more, and change nothing
            log.warning("messages will come twice", error=str(error))

    async def _pause(self, failures: int) -> None:
        delay_s = min(2 ** (failures - 1), LONGEST_WAIT_S) * random.uniform(0.8, 1.2)  # noqa: S311
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _tell(self, part: str, fault: str = "") -> None:
        # Once when it goes away, once when it is back; not with every try of every poller.
        if fault and part not in self._away:
            log.warning(f"{part} is away", error=fault)
            self._away.add(part)
        elif not fault and part in self._away:
            log.info(f"{part} is back")
            self._away.discard(part)


async def _end(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_consumer(settings: Settings, stopping: asyncio.Event) -> AsyncIterator[Consumer]:
    """Open the consumer's parts; it starts whether or not they can be reached."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        queue = await stack.enter_async_context(open_queue(settings, connections=3 * POLLERS))
        publisher = Publisher(settings.broker_url.get_secret_value())
        stack.callback(publisher.close)
        yield Consumer(settings, queue, database, publisher, stopping)
