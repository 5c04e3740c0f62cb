"""Receive events from an SQS queue by long polling.

A message is deleted only after its events are committed. While the database is unavailable,
messages are kept invisible and retried, so an outage does not use up their receive counts. A
message that can never be stored stays in the queue, and the queue's redrive policy applies to it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from shared import outages
from shared.allowance import Allowance
from shared.database import Database, DatabaseAway, DatabaseRefusesContent
from shared.errors import QueueAway, SettingsError
from shared.intake import allow, effects, log_faults, read_message, record
from shared.jitter import spread
from shared.liveness import Beat
from shared.log import get_logger
from shared.log_fields import Fields
from shared.outages import QUEUE
from shared.publisher import Publisher
from shared.settings import Settings
from shared.throttle import Throttle
from worker.queue.causes import batch_span, request_ids
from worker.queue.sqs import Queue, Received
from worker.queue.tally import LOGGED_EVERY_S, Tally

WAIT_S = 20
"""Time, in seconds, that a request waits for a message: the maximum of SQS."""

HOLD_S = 10
"""Visibility timeout of a batch, in seconds. The consumer renews it every third of this time. If
the consumer is killed, another consumer gets the messages after this time."""

TRY_S = 4.0
"""Timeout, in seconds, for the recording of a batch in the database. It is short, so that a stop
does not wait long for a database that is unavailable."""

LONGEST_WAIT_S = 5.0
"""Longest pause before a retry, in seconds, so that work continues soon after an outage."""

log = get_logger(__name__)


class Consumer:
    """Takes messages off the queue until `stopping` is set."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        database: Database,
        publisher: Publisher,
        stopping: asyncio.Event,
        beat: Beat,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._database = database
        self._publisher = publisher
        self._stopping = stopping
        self._beat = beat
        self._answered = True
        self._tally = Tally()
        self._allowance = Allowance()
        self._throttle = Throttle(log.warning)

    async def check(self) -> list[Received]:
        """Receive the first batch without waiting. Raises SettingsError if SQS denies access.

        Returns an empty list if the queue is unavailable.
        """
        batch = None
        try:
            batch = await self._receive(wait_s=0)
        except QueueAway as error:
            if error.refused:
                raise SettingsError(
                    f"ATTACHMENTS_SQS_QUEUE_URL: the queue refuses us: {error}"
                ) from None
            self._note_fault(error)
        return batch or []

    async def queue_fault(self) -> str | None:
        """Return why the queue cannot be used; None if it answered the last request."""
        return None if self._answered else "the queue did not answer the last request"

    async def poll(self) -> None:
        """Process batches until the stop.

        A batch that was received before the stop is processed too.
        """
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                # After a fault, do not use a long poll: an empty queue would answer only after
                # WAIT_S, so we would learn late that it is available again.
                batch = await self._receive(wait_s=WAIT_S if self._answered else 0)
                if batch is None:
                    return
                self._answered = True
                QUEUE.success()
                await self.take(batch)
            except QueueAway as error:
                self._note_fault(error)
            except Exception:
                log.exception("unexpected error")
            else:
                failures = 0
                if not batch and time.monotonic() - began < 1:  # the queue has no long polling
                    await self._pause(1)
                continue
            failures += 1
            await self._pause(failures)

    async def _receive(self, *, wait_s: int) -> list[Received] | None:
        """Receive a batch within `wait_s` seconds; None if stopped before the queue answers."""
        self._beat.beat()
        receiving = asyncio.ensure_future(self._queue.receive(wait_s=wait_s, hide_s=HOLD_S))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else None
        finally:
            # Messages that the queue sends at this moment become visible again after HOLD_S.
            await end_all(receiving, stopped)

    async def take(self, batch: Sequence[Received]) -> None:
        """Record a batch, retrying as long as necessary, and delete its messages. Never raises.

        If the consumer stops, the messages that are not stored become visible to other consumers at
        once.
        """
        if not batch:
            return
        held = list(batch)
        holding = asyncio.create_task(self._hold(held))
        try:
            await self._store(held)
        except Exception:
            log.exception("unexpected error")
            held.clear()  # the queue delivers these messages again after HOLD_S
        finally:
            await end_all(holding)
        await self._give_back(held)

    async def _store(self, held: list[Received]) -> None:
        """Record the messages in `held`, and remove the recorded ones from `held`.

        Retries while the database is unavailable. After a stop, some messages may be left in
        `held`. Every other retry records each message separately: if only one message waits for a
        lock, the others are recorded.
        """
        failures = 0
        while held:
            try:
                await self._commit(held)
            except DatabaseRefusesContent:  # one message causes the error: record the others
                await self._store_each(held)
            except DatabaseAway as error:
                failures += 1
                await self._pause(failures)
                if self._stopping.is_set():
                    return
                if failures % 2 == 0 and len(held) > 1 and await self._store_each(held) and held:
                    self._throttle(
                        "some messages are not stored yet", cause=str(error), messages=len(held)
                    )
            except Exception:  # probably one message is the cause: record the others
                await self._store_each(held)
            else:
                await self._done(held, list(held))

    async def _store_each(self, held: list[Received]) -> bool:
        """Record each message separately, without retries; return True if any was recorded.

        A message that can never be stored is removed from `held`. The queue delivers it again and
        counts the deliveries.
        """
        stored = []
        for item in list(held):
            try:
                await self._commit([item])
            except DatabaseRefusesContent as error:
                log.error(
                    "message not stored: it stays in the queue", message=item.id, error=str(error)
                )
                held.remove(item)
            except DatabaseAway:
                if self._stopping.is_set():
                    break
            except Exception:
                log.exception("message not stored: it stays in the queue", message=item.id)
                held.remove(item)
            else:
                stored.append(item)
        await self._done(held, stored)
        return bool(stored)

    async def _commit(self, batch: Sequence[Received]) -> None:
        """Record the events of a batch, publish wake-ups, and count effects. Raises DatabaseAway.

        May be repeated: events that are already recorded have no effect.
        """
        messages = [
            read_message(item.body, source="sqs", bucket=self._settings.s3_bucket) for item in batch
        ]
        kept = allow(self._allowance, messages)
        with batch_span(self._settings.sqs_queue_url, len(batch)):
            recorded = await self._database.run_within(
                TRY_S, record, messages, self._settings, kept
            )
            ids = request_ids(batch, messages)
            for wake_up in recorded.woken:
                with Fields(request_id=ids.get(wake_up.attachment_id, "")):
                    self._publisher.publish(wake_up)
        log_faults(self._throttle, messages)
        for message, counts in zip(messages, effects(messages, recorded), strict=True):
            self._tally.add(message.reading.dialect or "unknown", counts)

    async def keep_logging(self) -> None:
        """Log the effects of events every LOGGED_EVERY_S seconds, until cancelled."""
        ticking = asyncio.create_task(outages.keep_logging(self._throttle), name="log lines")
        try:
            while True:
                await asyncio.sleep(LOGGED_EVERY_S)
                self._tally.log()
        finally:
            await end_all(ticking)

    def log_rest(self) -> None:
        """Log the counts and the throttled lines that are not logged yet."""
        self._throttle.close()
        self._tally.log()

    def _note_fault(self, error: QueueAway) -> None:
        self._answered = False
        QUEUE.fault(str(error))

    async def _hold(self, held: list[Received]) -> None:
        pause_s = HOLD_S / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._queue.hide(list(held), HOLD_S)
                pause_s = HOLD_S / 3
            except QueueAway as error:
                self._report("messages may be delivered twice", error)
                pause_s = 1

    async def _give_back(self, batch: Sequence[Received]) -> None:
        try:
            await self._queue.hide(batch, 0)
        except QueueAway as error:
            self._report("messages not released: the queue delivers them again later", error)

    async def _done(self, held: list[Received], stored: Sequence[Received]) -> None:
        """Delete stored messages from the queue, and remove them from `held`."""
        held[:] = [item for item in held if item not in stored]
        try:
            await self._queue.delete(stored)
        except QueueAway as error:  # to record a message twice is harmless
            self._report("messages not deleted: the queue delivers them again", error)

    def _report(self, event: str, error: QueueAway) -> None:
        """Log `event` if the queue refused the call or some messages; otherwise count an outage."""
        if error.refused or error.of_messages:
            self._throttle(event, cause=str(error))
        else:
            self._note_fault(error)

    async def _pause(self, failures: int) -> None:
        self._beat.beat()
        delay_s = spread(min(2 ** (failures - 1), LONGEST_WAIT_S))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)


async def end_all(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
