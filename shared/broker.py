"""The broker: its queues and the settings of Celery. `shared.publisher` publishes the messages.

A wake-up is a message that tells a worker to look at a row. It only saves time: the row records the
work, and the sweep finds the row without a message (see `shared.due`). So nothing waits for the
broker, and a lost message delays an upload only by seconds.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from celery import Celery
from kombu import Queue

TASK = "attachments.process"

ORGANIZATION = "organization"
"""The message header with the organization's id in digits. It lets a worker take organizations in
turn before it reads a row. Messages of earlier releases do not have this header."""

REQUEST_ID = "request_id"
"""The message header with the id of the request that caused the wake-up, or an empty text. Messages
of earlier releases do not have this header."""

TRACEPARENT = "traceparent"
"""The message header with the trace context, or an empty text if traces are off. Messages of
earlier releases do not have this header."""

QUEUES = 32
"""The number of queues. Each organization uses one of them, and workers read all queues in turn. So
an organization that uploads a million files fills one queue and does not delay the others."""


TEMPLATE = "attachments-{number}"
"""The name that all queues share in traces."""


def queue_name(organization_id: int) -> str:
    """Return the name of the queue that an organization uses."""
    return f"attachments-{organization_id % QUEUES}"


def _kombu_url(broker_url: str) -> str:
    # redis-py uses unix:// for sockets; kombu uses redis+socket://.
    parts = urlsplit(broker_url)
    if parts.scheme != "unix":
        return broker_url
    number = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={number}"


class Application(Celery):
    """A Celery application that always uses the broker address that it was created with.

    Celery itself prefers the environment variables CELERY_BROKER_URL, CELERY_BROKER_READ_URL and
    CELERY_BROKER_WRITE_URL to the application's setting (`celery.app.utils.Settings`, 5.7).
    """

    def __init__(self, name: str, *, broker: str) -> None:
        # Set here, so that Celery does not read loader, backend and fix-ups from the environment.
        self.backend_cls = "disabled"
        super().__init__(name, broker=broker, loader="app", fixups=[], set_as_current=False)
        self._broker = broker

    def connection_for_read(self, url: str | None = None, **more: Any) -> Any:
        """Return a connection to consume messages."""
        return super().connection_for_read(url or self._broker, **more)

    def connection_for_write(self, url: str | None = None, **more: Any) -> Any:
        """Return a connection to publish messages."""
        return super().connection_for_write(url or self._broker, **more)

    def connection(self, hostname: str | None = None, *rest: Any, **more: Any) -> Any:
        """Return a connection to publish messages. Celery calls this older method too."""
        return super().connection(hostname or self._broker, *rest, **more)


def make_celery(broker_url: str, prefix: str = "") -> Celery:
    """Create the Celery application. Publishers and workers use the same settings.

    limits.md gives the reason of each setting ("Settings, with reasons").

    Messages contain ids and are read as JSON only. Results are not stored. The database decides
    about retries. Every wait for the broker has a time limit. All keys and channels at the broker
    begin with `prefix`: queues, bindings, and kombu's records of unacknowledged messages. Only
    earlier releases wrote such records.
    """
    app = Application("attachments", broker=_kombu_url(broker_url))
    app.conf.update(
        # Taking a message removes it: no acknowledgement follows (see limits.md).
        task_queues=[Queue(f"attachments-{number}", no_ack=True) for number in range(QUEUES)],
        task_create_missing_queues=False,
        task_default_queue="attachments-0",
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
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
        broker_channel_error_retry=True,  # an error of a full broker must not end a worker
        broker_connection_timeout=2,
        broker_pool_limit=4,
        broker_transport_options={
            "global_keyprefix": prefix,
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
