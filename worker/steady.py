"""Celery's consumer, made steady: a broker that is away or refuses us costs a line, not a loop."""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from redis import exceptions

from shared.broker_faults import describe, place_of
from shared.log import get_logger

RECONNECT_S: Final = 2.0
"""How often a broker that is away is looked for: once it is back, work goes on within seconds. The
pauses of Celery grow to half a minute, and there is no setting for them."""

SAY_AGAIN_S: Final = 60.0
"""How often a cause that goes on is logged."""

_LOOK_S: Final = 0.1

log = get_logger(__name__)


class SteadyConsumer(Consumer):
    """Looks for a broker that is away at a steady pace, and says once a minute why it is.

    Celery itself tries again at once what the broker refuses, hundreds of times a second with a
    traceback for every five.
    """

    _said: tuple[str, float] = ("", 0.0)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however often that has to be tried."""
        ensure: Callable[..., Any] = conn.ensure_connection

        def connect(_errback: Any, *args: Any, **kwargs: Any) -> Any:
            return ensure(self._tell_away, *args, **kwargs)

        conn.ensure_connection = partial(connect, interval_start=RECONNECT_S, interval_step=0)
        return super().ensure_connected(conn)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say why the connection is of no use, and wait before the next one."""
        self._tell(exc)
        self._rest()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say why the connection was lost; wait unless it may come back at once."""
        self._tell(exc)
        with warnings.catch_warnings(), suppress(ReferenceError):
            warnings.simplefilter("ignore")  # of a default that is set, with every loss
            super().on_connection_error_after_connected(exc)
        if isinstance(exc, exceptions.ResponseError):
            self._rest()

    def on_ready(self) -> None:
        """Say that the broker is there again."""
        if self._said[0]:
            log.info("broker is back")
            self._said = ("", 0.0)
        super().on_ready()

    def _tell_away(self, exc: Exception, _interval: float) -> None:
        self._tell(exc)

    def _tell(self, exc: Exception) -> None:
        where = place_of(str(self.app.conf.broker_url))
        cause, now = describe(exc, where), time.monotonic()
        if cause != self._said[0] or now - self._said[1] > SAY_AGAIN_S:
            log.warning("broker is of no use; the sweep takes over", error=cause)
            self._said = (cause, now)

    def _rest(self) -> None:
        over = time.monotonic() + RECONNECT_S
        while time.monotonic() < over:
            maybe_shutdown()
            time.sleep(_LOOK_S)
