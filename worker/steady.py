"""Celery's consumer with reconnects at a fixed interval.

If the broker is unavailable or denies a command, one line is logged. Celery itself would retry in a
tight loop.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from redis import exceptions

from shared.broker_faults import describe, server_of
from shared.metrics import BROKER_UP
from shared.outages import BROKER

RECONNECT_S: Final = 2.0
"""Pause, in seconds, between two tries to reconnect. It is short, so that work continues soon after
an outage. Celery's own pauses grow to half a minute, and no setting changes that."""

_LOOK_S: Final = 0.1


class SteadyConsumer(Consumer):
    """A consumer that reconnects at a fixed interval. `shared.outages` logs the broker's loss.

    If the broker denies a command, Celery's own consumer retries at once: hundreds of times a
    second, with a traceback at every fifth retry.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Connect to the broker; retry every RECONNECT_S seconds without limit."""
        ensure: Callable[..., Any] = conn.ensure_connection

        def connect(_errback: Any, *args: Any, **kwargs: Any) -> Any:
            return ensure(self._log_retry, *args, **kwargs)

        conn.ensure_connection = partial(connect, interval_start=RECONNECT_S, interval_step=0)
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log why a connection could not be used, and wait before the next try."""
        self._log_loss(exc)
        self._rest()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log why the connection was lost. If the broker denied a command, also wait."""
        self._log_loss(exc)
        with warnings.catch_warnings(), suppress(ReferenceError):
            warnings.simplefilter("ignore")  # Celery warns because a setting is not set
            super().on_connection_error_after_connected(exc)
        if isinstance(exc, exceptions.ResponseError):
            self._rest()

    def on_ready(self) -> None:
        """Record that the broker is available again."""
        BROKER_UP.set(1)
        BROKER.success()
        super().on_ready()

    def _log_retry(self, exc: Exception, _interval: float) -> None:
        self._log_loss(exc)

    def _log_loss(self, exc: Exception) -> None:
        BROKER_UP.set(0)
        BROKER.fault(describe(exc, server_of(str(self.app.conf.broker_url))))

    def _rest(self) -> None:
        over = time.monotonic() + RECONNECT_S
        while time.monotonic() < over:
            maybe_shutdown()
            time.sleep(_LOOK_S)
