"""The Celery application of the worker, and its one task."""

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from shared import traces
from shared.broker import ORGANIZATION, REQUEST_ID, TASK, TRACEPARENT, make_celery
from shared.broker_faults import server_of
from shared.keys import MAX_ID
from shared.lifecycle import COURIERS, WakeUp
from shared.log import get_logger
from shared.log_writer import flush_all
from shared.outages import BROKER
from shared.request_ids import read_id
from shared.settings import Settings
from worker.broker_noise import BrokerNoise
from worker.runtime import Runtime
from worker.slots import UNKNOWN
from worker.steady import SteadyConsumer

FINAL_REPLIES_S = 3.0
"""Maximum time, in seconds, that Celery may take to end after the runtime has ended. If the broker
is frozen, Celery waits longer for it. It is safe to end the process before that: all uploads are
finished, or their claims are released."""

log = get_logger(__name__)


class Messages:
    """The task's `Strategy` in Celery: passes wake-ups to the runtime as they arrive.

    Celery's own strategy gives each message to a thread and takes no more messages than there are
    threads, so one organization could occupy all threads. This strategy never blocks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def strategy(self, *_: Any) -> Callable[..., None]:
        """Return the function that handles each message. Celery calls this for each connection."""

        def take(message: Any, body: Any, *_: Any) -> None:
            """Pass a message to the runtime.

            If the payload cannot be read, this raises an exception, and Celery drops the message.
            """
            payload = body if body is not None else message.payload
            # This message shows that the broker is available, so record that an outage has ended.
            # Usually a reconnect records this. But there may be no reconnect after a late error.
            BROKER.success()
            wake_up = read_wake_up(payload, message.headers)
            if wake_up is None:
                log.warning("message dropped: it is not a wake-up")
            elif wake_up == COURIERS:
                self._runtime.wake_courier()
            else:
                self._runtime.receive(wake_up)

        return take


def read_wake_up(payload: Any, headers: Any) -> WakeUp | None:
    """Read a wake-up from a message; return None if the message is not a wake-up.

    Messages of earlier releases contain no organization: the organization's id is then UNKNOWN.
    """
    match payload:
        case [[int(attachment_id), int(revision)], *_]:
            pass
        # the older protocol of Celery, version 1
        case {"args": [int(attachment_id), int(revision)]}:
            pass
        case _:
            return None
    if not all(type(each) is int and 0 <= each <= MAX_ID for each in (attachment_id, revision)):
        return None
    headers = headers if isinstance(headers, dict) else {}
    named = str(headers.get(ORGANIZATION, ""))
    known = named.isascii() and named.isdigit() and len(named) < 20
    return WakeUp(
        attachment_id=attachment_id,
        organization_id=int(named) if known else UNKNOWN,
        revision=revision,
        request_id=read_id(headers.get(REQUEST_ID)) or "",
        traceparent=None if traces.recorder is None else _text(headers.get(TRACEPARENT)),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def make_app(settings: Settings, runtime: Runtime, prefix: str = "") -> Celery:
    """Make the Celery application whose task passes wake-ups to the runtime.

    The names of all keys that the application uses at the broker begin with `prefix`.
    """
    app = make_celery(settings.broker_url.get_secret_value(), prefix)
    # 0 means no prefetch limit: `Reception` limits how many wake-ups wait.
    app.conf.worker_prefetch_multiplier = 0

    @app.task(name=TASK, ignore_result=True, Strategy=Messages(runtime).strategy)
    def process(_attachment_id: int, _revision: int) -> None:
        """Never runs. Celery needs this task, but `Messages` handles its messages."""

    def stop(**_: Any) -> None:
        runtime.drain()

    signals.worker_shutting_down.connect(stop, weak=False)
    return app


def work(settings: Settings) -> int:
    """Run a worker in this process until SIGTERM or SIGINT; return its exit status."""
    _quieten(settings)
    # The sweep starts before Celery sets its signal handlers. Until then, these handlers end the
    # worker cleanly, so that the sweep's claims are released. Otherwise the claimed rows would wait
    # until their leases end.
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    runtime = Runtime(settings)
    try:
        runtime.start()
    except SystemExit:  # a signal during the start: no upload is claimed yet
        log.info("worker stops")
        flush_all()
        os._exit(0)
    threading.Thread(target=_end_in_time, args=(runtime,), name="end", daemon=True).start()
    signals_seen: list[Any] = []

    def note(sig: Any = None, **_: Any) -> None:
        signals_seen.append(sig)
        _ignore_interrupts()

    signals.worker_shutting_down.connect(note, weak=False)
    signals.worker_ready.connect(lambda **_: runtime.takes_wake_ups(), weak=False)
    try:
        prefix = runtime.learn_prefix()
        worker = make_app(settings, runtime, prefix).Worker(
            pool="solo",  # the pool is never used: see `Messages`
            concurrency=1,
            consumer_cls=SteadyConsumer,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            loglevel=settings.log_level.upper(),
        )
        worker.start()
    finally:
        runtime.drain()
        in_order = runtime.join()
    if not in_order:
        return 1
    # After SIGINT, Celery's exit status is a failure, although the worker has stopped cleanly.
    return 0 if signals_seen else int(worker.exitcode or 0)


def _leave(*_: Any) -> None:
    """Raise SystemExit. This handles signals that arrive before Celery sets its signal handlers."""
    _ignore_interrupts()
    sys.exit(0)


def _ignore_interrupts() -> None:
    """Ignore SIGINT while the worker stops.

    A second Ctrl-C cannot make the worker stop earlier. But it makes Celery exit with a failure,
    and a third one makes Celery exit before claims are released.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _quieten(settings: Settings) -> None:
    """Drop warnings of Celery that are useless, or that `shared.outages` logs too."""
    # Celery warns about running as root, because pickled messages could run any code. The messages
    # of this service are only JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # At every loss of the broker, Celery warns that the default of a setting will change. The
    # worker sets that setting itself.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    # Celery also logs warnings about a lost broker; `SteadyConsumer` logs the loss instead.
    logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)
    server = server_of(settings.broker_url.get_secret_value())
    for handler in logging.getLogger().handlers:
        handler.addFilter(BrokerNoise(server))


def _end_in_time(runtime: Runtime) -> None:
    """End the process at most 14 s after the request to stop, even if a server does not answer.

    `deploy/docs/containers.md` promises 15 s.
    """
    in_time = runtime.ends_in_time()
    if in_time:
        time.sleep(FINAL_REPLIES_S)
        log.info("broker does not answer: stopped without waiting for it")
    else:
        log.warning(
            "stopped before all attempts ended: the sweep claims their uploads after their leases"
        )
    flush_all()
    os._exit(0 if in_time and runtime.join() else 1)
