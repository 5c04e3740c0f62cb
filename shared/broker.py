"""The broker: its queues and Celery's settings; see `shared.publisher` for what is published.

A wake-up is a bonus: the rows say what has to be done, and the sweep finds it (see `shared.due`).
So nothing waits for the broker, and what it loses costs seconds.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from celery import Celery
from kombu import Queue

TASK = "attachments.process"

ORGANIZATION = "organization"
"""The header of a message that names the organization, in digits: a worker keeps turns by it before
it has read the row. Messages of earlier releases have none."""

QUEUES = 32
"""Organizations are spread over this many queues, which workers serve in turns: one that uploads
a million files fills one queue, and the others are served as before."""


def queue_name(organization_id: int) -> str:
    """Name the queue of an organization."""
    return f"attachments-{organization_id % QUEUES}"


def _kombu_url(broker_url: str) -> str:
    # unix:// is redis-py's own; kombu knows sockets by another name.
    parts = urlsplit(broker_url)
    if parts.scheme != "unix":
        return broker_url
    number = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={number}"


class Application(Celery):
    """A Celery application whose broker is the one it was made with.

    Celery prefers CELERY_BROKER_URL, CELERY_BROKER_READ_URL and CELERY_BROKER_WRITE_URL to what
    its application sets (`celery.app.utils.Settings`, 5.7).
    """

    def __init__(self, name: str, *, broker: str) -> None:
        # Given explicitly, loader, backend and fix-ups are not looked up in the environment.
        self.backend_cls = "disabled"
        super().__init__(name, broker=broker, loader="app", fixups=[], set_as_current=False)
        self._broker = broker

    def connection_for_read(self, url: str | None = None, **more: Any) -> Any:
        """Connect to take messages."""
        return super().connection_for_read(url or self._broker, **more)

    def connection_for_write(self, url: str | None = None, **more: Any) -> Any:
        """Connect to publish messages."""
        return super().connection_for_write(url or self._broker, **more)

    def connection(self, hostname: str | None = None, *rest: Any, **more: Any) -> Any:
        """Connect to publish messages; the older way."""
        return super().connection(hostname or self._broker, *rest, **more)


def make_celery(broker_url: str, prefix: str = "") -> Celery:
    """Make the Celery application, alike for publishers and workers.

    The reasons of each setting: limits.md, "Settings, with reasons".

    Messages hold ids and are read as JSON only. Nothing is kept of results, the database decides
    on every retry, and every wait for the broker has an end. All keys and channels at the broker
    begin with `prefix`: queues, bindings, and what kombu notes of messages in work.
    """
    app = Application("attachments", broker=_kombu_url(broker_url))
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
        broker_channel_error_retry=True,  # a broker that is full must end no worker
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
