"""The broker: Celery's settings, and the publishing of wake-ups.

A wake-up is a bonus: what has to be done stands in the rows, and the sweep finds it (see
`shared.processing`). So nothing waits for the broker, and what it loses costs seconds.
"""

import threading
import time
from collections import deque
from typing import Any

from celery import Celery
from kombu import Queue

from shared.log import get_logger
from shared.processing import WakeUp

TASK = "attachments.process"

QUEUES = 32
"""Organizations are spread over this many queues, which workers serve in turns: one that uploads
a million files fills one queue, and the others are served as before."""

MAX_WAITING = 10_000
"""Wake-ups that wait to be published while the broker is away; more are left to the sweep."""

MAX_QUEUED = 10_000
LOOK_EVERY_S = 1.0
"""Where no worker takes them, wake-ups are no longer published into a queue of so many: the broker
holds a bounded number, whatever happens, and the sweep does what they would have asked for."""

log = get_logger(__name__)


def queue_name(organization_id: int) -> str:
    """Name the queue of an organization."""
    return f"attachments-{organization_id % QUEUES}"


def make_celery(broker_url: str) -> Celery:
    """Make the Celery application, alike for who publishes and who works; reasons in safety.md.

    Messages hold ids and are read as JSON only. Nothing is kept of results, the database decides
    on every retry, and every wait for the broker has an end.
    """
    app = Celery("attachments", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(f"attachments-{number}") for number in range(QUEUES)],
        task_create_missing_queues=False,
        task_default_queue="attachments-0",
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=False,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2,
        broker_pool_limit=4,
        broker_transport_options={
            "visibility_timeout": 300,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "retry_on_timeout": False,
            "priority_steps": [0],
        },
    )
    return app


class Publisher:
    """Publishes wake-ups from a thread of its own; the caller never waits and never fails."""

    def __init__(self, broker_url: str) -> None:
        self._app = make_celery(broker_url)
        self._waiting: deque[WakeUp] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._failing = False
        self.dropped = 0
        self._full: dict[str, tuple[float, bool]] = {}
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, wake_up: WakeUp) -> None:
        """Have a wake-up published soon; where too many wait it is left to the sweep."""
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append(wake_up)
            self._wake.notify()

    def close(self, timeout_s: float = 2.0) -> None:
        """Publish what waits, for no longer than the time limit."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        producer: Any = None
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                wake_up = self._waiting.popleft()
            try:
                if producer is None:
                    producer = self._app.amqp.Producer(self._app.connection_for_write())
                if self._is_full(producer, queue_name(wake_up.organization_id)):
                    with self._wake:
                        self.dropped += 1
                    continue
                self._app.send_task(
                    TASK,
                    args=(wake_up.attachment_id, wake_up.revision),
                    queue=queue_name(wake_up.organization_id),
                    producer=producer,
                )
                if self._failing:
                    self._failing = False
                    log.info("broker is back")
            except Exception as error:  # whatever the broker's client raises, the sweep covers it
                producer = None
                with self._wake:
                    self.dropped += 1
                    if self._closing:
                        return
                if not self._failing:
                    self._failing = True
                    log.warning("broker is away; the sweep takes over", error=type(error).__name__)

    def _is_full(self, producer: Any, queue: str) -> bool:
        looked_at, full = self._full.get(queue, (-LOOK_EVERY_S, False))
        if time.monotonic() - looked_at >= LOOK_EVERY_S:
            full = producer.channel.queue_declare(queue=queue).message_count >= MAX_QUEUED
            self._full[queue] = (time.monotonic(), full)
        return full
