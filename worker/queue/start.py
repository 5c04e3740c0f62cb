"""Run `attachments consume`: open what the consumer needs, consume, stop on a signal."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from shared.backlog import BacklogWatch
from shared.beginning import resume_collection
from shared.broker_check import refuse_cluster
from shared.database import open_database
from shared.deployment import open_publisher
from shared.errors import SettingsError
from shared.liveness import Health, answers
from shared.log import configure_logging, get_logger
from shared.metrics_address import open_metrics
from shared.readiness import announce
from shared.settings import Settings
from shared.trace_start import exported
from worker.queue.consumer import Consumer, end_all
from worker.queue.sqs import open_queue

POLLERS = 4
"""Number of batches that are processed concurrently, each of up to ten messages. This gives some
hundreds of messages a second."""

SILENT_S = 60.0
"""Time, in seconds, without a poll or a retry after which a consumer counts as stuck. A poll takes
up to 25 s, and two statements of the database up to 4 s each."""

log = get_logger(__name__)


def run(settings: Settings) -> int:
    """Consume the queue until SIGINT or SIGTERM; return the exit status.

    Raises SettingsError if no queue is configured, or if SQS denies the first request.
    """
    if settings.sqs_queue_url is None:
        raise SettingsError("ATTACHMENTS_SQS_QUEUE_URL: is not set")
    resume_collection()
    configure_logging(settings.log_level, settings.log_format, serving=True, process="consume")
    asyncio.run(refuse_cluster(settings))
    with (
        exported(settings, "consume"),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_main(settings))
    return 0


async def _main(settings: Settings) -> None:
    stopping, health, backlog = asyncio.Event(), Health(step="queue"), BacklogWatch()

    def stop() -> None:
        health.stopping = True
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    async with (
        open_metrics(settings, "consume", health, backlog),
        open_consumer(settings, stopping, health, backlog) as consumer,
    ):
        announcing = asyncio.create_task(
            announce(health, waits="consumer waits", ready="consumer is ready", pollers=POLLERS)
        )
        logging = asyncio.create_task(consumer.keep_logging())
        try:
            found = await consumer.check()
            health.step = None
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(consumer.take(found))
                for _ in range(POLLERS):
                    tasks.create_task(consumer.poll())
        finally:
            await end_all(announcing, logging)
            consumer.log_rest()
    log.info("consumer has stopped")


@asynccontextmanager
async def open_consumer(
    settings: Settings, stopping: asyncio.Event, health: Health, backlog: BacklogWatch
) -> AsyncIterator[Consumer]:
    """Open the consumer with its database, queue and publisher; close them at the end.

    Opens them even if the servers cannot be reached yet. Raises SettingsError if a setting is
    wrong.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        queue = await stack.enter_async_context(open_queue(settings, connections=3 * POLLERS))
        publisher = await stack.enter_async_context(open_publisher(database, settings))
        database.on_queued = publisher.wake_couriers
        await stack.enter_async_context(backlog.watching(database))
        health.need("database", answers(database))
        beat = health.expect("queue", within_s=SILENT_S)
        consumer = Consumer(settings, queue, database, publisher, stopping, beat)
        health.need("queue", consumer.queue_fault)
        health.use("broker", publisher.fault)
        yield consumer
