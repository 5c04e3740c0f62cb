"""Publish wake-ups in a separate thread, so that no caller waits for the broker.

A wake-up is a message that tells a worker to look at a row.
"""

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

from redis import ResponseError

from shared import traces
from shared.broker import QUEUES, TEMPLATE, make_celery, queue_name
from shared.broker_faults import describe, server_of
from shared.lifecycle import COURIERS, WakeUp
from shared.log_fields import field
from shared.metrics import BROKER_UP, DROPPED, PUBLISHED, QUEUE_MESSAGES
from shared.outages import BROKER
from shared.task_message import TaskMessage

MAX_WAITING = 10_000
"""At most this many wake-ups wait while the broker is unavailable. Further wake-ups are dropped,
and the sweep finds their rows."""

MAX_BATCH = 200
PAUSE_S = 0.02
"""One round trip publishes up to MAX_BATCH wake-ups. Then the thread pauses for PAUSE_S seconds. So
under load many wake-ups share one round trip, and the event loop gets the processor. The first
wake-up after a quiet time does not wait."""

PAUSE_AWAY_S = 0.1
"""Seconds to pause after a failure. So a broker that refuses requests gets ten of them a second,
not thousands."""

MAX_QUEUED = 10_000
LOOK_EVERY_S = 1.0
"""A queue takes at most MAX_QUEUED messages, so that the broker's memory is bounded if no worker
runs. Further wake-ups are dropped, and the sweep finds those uploads. The length of a queue is read
at most every LOOK_EVERY_S seconds."""

MEASURE_EVERY_S = 10.0
"""Seconds between two reads of the lengths of all queues, for the metrics, in one round trip."""

_Message = tuple[WakeUp, str, traces.Span | None]
"""A wake-up, the id of the request that caused it, and the wake-up's span. The span ends when the
wake-up is published."""


class Publisher:
    """Publishes wake-ups in its own thread. Callers never wait, and no call fails.

    `server` is the broker's address without secrets. `dropped` counts the wake-ups that were not
    published; the sweep finds their rows.
    """

    def __init__(self, broker_url: str, prefix: str | None) -> None:
        """Start the thread. If `prefix` is None, nothing is published before `use` is called."""
        self._broker_url = broker_url
        self.server = server_of(broker_url)
        self._prefix = prefix
        self._message = TaskMessage()
        self._waiting: deque[_Message] = deque()
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._failing = False
        self._courier_is_called = False
        self.dropped = 0
        self._client: Any = None
        self._lengths: dict[str, tuple[float, int]] = {}
        self._measured_at = -MEASURE_EVERY_S
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    @property
    def left_to_sweep(self) -> str:
        """The message for an operator if wake-ups were dropped."""
        return (
            f"the broker is unavailable; the next sweep of a worker takes them up ({self.server})"
        )

    def publish(self, wake_up: WakeUp) -> None:
        """Queue a wake-up to be published. If MAX_WAITING wait already, drop it.

        The message has the id of the request in which this is called.
        """
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                self._drop(1)
                return
            span = None if traces.recorder is None else _span_of(wake_up)
            self._waiting.append((wake_up, field("request_id") or "", span))
            self._wake.notify()

    def wake_couriers(self) -> None:
        """Queue the message that wakes a courier of webhooks, unless one is queued already."""
        with self._wake:
            if self._courier_is_called:
                return
            self._courier_is_called = True
        self.publish(COURIERS)

    def use(self, prefix: str) -> None:
        """Set the prefix of this deployment's keys at the broker, and begin to publish."""
        with self._wake:
            self._prefix = prefix
            self._wake.notify()

    async def fault(self) -> str | None:
        """Return why the broker cannot be used, or None if it carried out the last request."""
        return self.left_to_sweep if self._failing else None

    def close(self, timeout_s: float = 2.0) -> None:
        """Publish the waiting wake-ups, then stop the thread. Takes at most `timeout_s` seconds."""
        self._closing.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._publish()
        finally:
            if self._client is not None:
                self._client.connection_pool.disconnect()

    def _publish(self) -> None:
        while (batch := self._take()) is not None:
            self._measure()
            if not batch:
                continue
            try:
                left_out = self._push(batch)
            # any error of redis-py; the sweep finds the uploads of the batch
            except Exception as error:
                _end_spans(batch, type(error).__name__)
                with self._wake:
                    self._drop(len(batch))
                    if self._closing.is_set():
                        self._drop(len(self._waiting))
                        return
                BROKER_UP.set(0)
                self._failing = True
                self._report(error)
                self._closing.wait(PAUSE_AWAY_S)
                continue
            _end_spans(batch)
            if left_out:
                with self._wake:
                    self._drop(left_out)
            self._failing = False
            BROKER.success(wrote=True)
            self._closing.wait(PAUSE_S)

    def _take(self) -> list[_Message] | None:
        """Wait for wake-ups, and take a batch. Returns None when closing and no wake-up is left.

        The batch is empty if no wake-up came and it is time to measure the queues.
        """
        with self._wake:
            while not self._closing.is_set() and not (self._waiting and self._prefix is not None):
                left = self._measured_at + MEASURE_EVERY_S - time.monotonic()
                if left <= 0 and self._prefix is not None:
                    return []
                self._wake.wait(left if left > 0 else None)
            if self._prefix is None:
                self._drop(len(self._waiting))
            if self._prefix is None or not self._waiting:
                return None
            self._courier_is_called = False
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]

    def _drop(self, count: int) -> None:
        self.dropped += count
        DROPPED.inc(count)

    def _measure(self) -> None:
        """Show the lengths of all queues every MEASURE_EVERY_S; NaN if they cannot be read."""
        now = time.monotonic()
        if now - self._measured_at < MEASURE_EVERY_S:
            return
        self._measured_at = now
        lengths: list[float] = [math.nan] * QUEUES
        try:
            if self._client is None:
                self._client = self._connect()
            with self._client.pipeline(transaction=False) as pipeline:
                for number in range(QUEUES):
                    pipeline.llen(queue_name(number))
                lengths = pipeline.execute()
            BROKER.success()
        except Exception as error:  # any error of redis-py
            self._report(error)
        BROKER_UP.set(not math.isnan(lengths[0]))
        for number, length in enumerate(lengths):
            QUEUE_MESSAGES.labels(queue_name(number)).set(length)

    def _report(self, error: Exception) -> None:
        # A broker that refuses one command may still accept others.
        refused = isinstance(error, ResponseError)
        BROKER.fault(describe(error, self.server), only_writes=refused)

    def _push(self, batch: list[_Message]) -> int:
        """Push a batch into its queues. Return how many were dropped because a queue was full."""
        if self._client is None:
            self._client = self._connect()
        queues: defaultdict[str, list[_Message]] = defaultdict(list)
        for each in batch:
            queues[queue_name(each[0].organization_id)].append(each)
        self._look(queues)
        pushed: dict[str, list[str]] = {}
        for queue, wake_ups in queues.items():
            room = max(MAX_QUEUED - self._lengths[queue][1], 0)
            if wake_ups[:room]:
                pushed[queue] = [self._fill(*each) for each in wake_ups[:room]]
        if pushed:
            with self._client.pipeline(transaction=False) as pipeline:
                for queue, messages in pushed.items():
                    pipeline.lpush(queue, *messages)
                self._note(pushed, pipeline.execute())
        published = sum(len(messages) for messages in pushed.values())
        PUBLISHED.inc(published)
        BROKER_UP.set(1)
        return len(batch) - published

    def _fill(self, wake_up: WakeUp, request_id: str, span: traces.Span | None) -> str:
        return self._message.fill(wake_up, request_id, "" if span is None else span.traceparent)

    def _connect(self) -> Any:
        """Return the Redis client that kombu would use. The client reconnects by itself."""
        app = make_celery(self._broker_url, self._prefix or "")
        transport: Any = app.connection_for_write().transport
        channel = transport.create_channel(transport)
        # The channel has opened a connection only to ask whether the broker answers. Close it.
        channel.client.connection_pool.disconnect()
        with channel.conn_or_acquire() as client:
            return client

    def _look(self, queues: Iterable[str]) -> None:
        """Read the length of each queue that was not read in the last LOOK_EVERY_S seconds."""
        since = time.monotonic() - LOOK_EVERY_S
        unknown = [queue for queue in queues if self._lengths.get(queue, (since, 0))[0] <= since]
        if unknown:
            with self._client.pipeline(transaction=False) as pipeline:
                for queue in unknown:
                    pipeline.llen(queue)
                self._note(unknown, pipeline.execute())

    def _note(self, queues: Iterable[str], lengths: list[int]) -> None:
        now = time.monotonic()
        self._lengths.update(
            (queue, (now, length)) for queue, length in zip(queues, lengths, strict=True)
        )


def _span_of(wake_up: WakeUp) -> traces.Span | None:
    """Begin the span of a wake-up in the upload's trace, with a link to the current span."""
    recorder = traces.recorder
    assert recorder is not None
    cause = recorder.current
    parent = wake_up.traceparent or cause
    if parent is None or wake_up == COURIERS:
        return None
    return recorder.begin(
        f"send {TEMPLATE}",
        "producer",
        {
            "messaging.system": "redis",
            "messaging.operation.type": "send",
            "messaging.operation.name": "send",
            "messaging.destination.name": queue_name(wake_up.organization_id),
            "messaging.destination.template": TEMPLATE,
        },
        parent=parent,
        link=None if cause == parent else cause,
    )


def _end_spans(batch: Iterable[_Message], error: str | None = None) -> None:
    for _, _, span in batch:
        if span is not None:
            if error is not None:
                span.fail(error)
            span.end()
