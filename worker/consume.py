"""The other way in for events: a queue of SQS, long-polled (`attachments consume`).

A message is deleted only after what it says is committed. While the database is away messages are
kept invisible and tried again, so that an outage of ours uses up none of their receives; what can
never be stored is left to the queue's own redrive policy.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvloop

from shared.broker import Publisher
from shared.database import Database, DatabaseAway, open_database
from shared.errors import QueueAway, SettingsError
from shared.intake import Message, read_message, record
from shared.log import configure_logging, get_logger
from shared.settings import Settings
from worker.sqs import Queue, Received, open_queue

POLLERS = 4
"""Batches of ten that are taken side by side: some hundreds of messages a second."""

HOLD_S = 60
"""For how long a batch in work is invisible to other consumers, and anew every third of it."""

LONGEST_WAIT_S = 30.0

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
        self._away = ""

    async def check(self) -> None:
        """Ask for what is there already. Raises SettingsError if the queue refuses us."""
        try:
            await self._take(await self._queue.receive(wait_s=0))
        except QueueAway as error:
            if error.refused:
                raise SettingsError(
                    f"ATTACHMENTS_SQS_QUEUE_URL: the queue refuses us: {error}"
                ) from None
            self._tell(str(error))

    async def poll(self) -> None:
        """Take batch after batch; one that has been received is finished before the end."""
        failures = 0
        while not self._stopping.is_set():
            try:
                batch = await self._received()
                failures = 0
                self._tell("")
            except QueueAway as error:
                self._tell(str(error))
                failures += 1
                await self._pause(failures)
                continue
            await self._take(batch)

    async def _received(self) -> list[Received]:
        receiving = asyncio.ensure_future(self._queue.receive(wait_s=20))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return await receiving if receiving.done() else []
        finally:
            # What SQS hands out at this very moment becomes visible again by itself.
            receiving.cancel()
            stopped.cancel()

    async def _take(self, batch: list[Received]) -> None:
        if not batch:
            return
        messages = [
            read_message(item.body, source="sqs", bucket=self._settings.s3_bucket) for item in batch
        ]
        holding = asyncio.create_task(self._hold(batch))
        try:
            stored = await self._stored(batch, messages)
        finally:
            holding.cancel()
        await self._done(stored)

    async def _stored(
        self, batch: Sequence[Received], messages: Sequence[Message]
    ) -> list[Received]:
        """Record a batch, for as long as that takes; returns which of it may be deleted."""
        failures = 0
        while True:
            try:
                woken = await self._database.run(record, messages, self._settings)
                break
            except DatabaseAway as error:
                log.warning("database is away", error=str(error))
                failures += 1
                await self._pause(failures)
                if self._stopping.is_set():
                    await self._give_back(batch)
                    return []
            except Exception:
                if len(batch) == 1:
                    log.exception("a message is left to the queue", message=batch[0].id)
                    return []
                # One of them is to blame: each by itself, the others take effect.
                return [
                    item
                    for one, message in zip(batch, messages, strict=True)
                    for item in await self._stored([one], [message])
                ]
        for wake_up in woken:
            self._publisher.publish(wake_up)
        return list(batch)

    async def _hold(self, batch: Sequence[Received]) -> None:
        while True:
            try:
                await self._queue.hide(batch, HOLD_S)
            except QueueAway as error:
                log.warning("messages may come twice", error=str(error))
            await asyncio.sleep(HOLD_S / 3)

    async def _give_back(self, batch: Sequence[Received]) -> None:
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
        delay_s = min(2.0 ** (failures - 1), LONGEST_WAIT_S) * random.uniform(0.8, 1.2)  # noqa: S311
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _tell(self, fault: str) -> None:
        # Once when it goes away, once when it is back; not with every try of every poller.
        if fault and not self._away:
            log.warning("queue is away", error=fault)
        elif self._away and not fault:
            log.info("queue is back")
        self._away = fault


@asynccontextmanager
async def open_consumer(settings: Settings, stopping: asyncio.Event) -> AsyncIterator[Consumer]:
    """Open the consumer's parts; it starts whether or not they can be reached."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        queue = await stack.enter_async_context(open_queue(settings, connections=3 * POLLERS))
        publisher = Publisher(settings.broker_url.get_secret_value())
        stack.callback(publisher.close)
        yield Consumer(settings, queue, database, publisher, stopping)
