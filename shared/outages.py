"""Log the outages of the parts outside a process: database, broker, store, queue and collector.

An outage is logged when it begins, once a minute with a count, and when it ends. Each request and
each upload notices an outage, so a line for each of them would fill the log. A process has one
Outage for each part. The code that calls the part reports every fault and every success to it, and
does not log them.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from shared.log import get_logger
from shared.throttle import Throttle

LINE_EVERY_S: Final = 60.0
"""Seconds between two lines about the same outage."""

QUIET_S: Final = 2.0
"""An outage ends after this many seconds without a fault. One success is not enough, because it
proves little. If an outage begins within LINE_EVERY_S seconds after the last outage, this number is
doubled, up to LINE_EVERY_S. So a part that works only now and then has one long outage, not
hundreds."""

TICK_S: Final = 1.0
"""Seconds between two checks whether a log line is due."""

log = get_logger(__name__)

Clock = Callable[[], float]


class Outage:
    """Records whether one part is available. Its methods may be called from any thread."""

    def __init__(self, lost: str, back: str, *, clock: Clock = time.monotonic) -> None:
        """`lost` and `back` are the texts that are logged when an outage begins and ends."""
        self._lost = lost
        self._back = back
        self._clock = clock
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._good_since: float | None = None
        self._ended_at: float | None = None
        self._quiet_s = QUIET_S
        self._only_writes = False
        self._logged_at = 0.0
        self._count = 0
        self._cause = ""

    @property
    def needs_write(self) -> bool:
        """True if only a successful write can end the outage."""
        return self._away_since is not None and self._only_writes

    def fault(self, cause: str, *, only_writes: bool = False) -> None:
        """Record a fault of the part. `cause` is logged, so it must hold no secret.

        `only_writes` means that the part answers, but refuses to write. If all faults of an outage
        are of that kind, a success that wrote nothing does not end the outage.
        """
        with self._lock:
            self._good_since = None
            self._add(cause, only_writes)

    def late_fault(self, cause: str) -> None:
        """Record a fault of an older connection. The outage does not last longer because of it."""
        with self._lock:
            self._add(cause, only_writes=False)

    def success(self, *, wrote: bool = False) -> None:
        """Record a success of the part. This costs nothing while the part is available."""
        if self._away_since is None:
            return
        with self._lock:
            if self._only_writes and not wrote:
                return
            if self._good_since is None:
                self._good_since = self._clock()
            self._end(self._clock())

    @property
    def away(self) -> str | None:
        """The cause of the present outage, or None if the part is available."""
        return None if self._away_since is None else self._cause

    def tick(self) -> None:
        """Log the lines that are due. Call this every few seconds."""
        if self._away_since is None:
            return
        with self._lock:
            now = self._clock()
            self._end(now)
            self._log_count(now)

    def _add(self, cause: str, only_writes: bool) -> None:
        now = self._clock()
        self._cause = cause
        if self._away_since is None:
            self._begin(now)
            self._only_writes = only_writes
        else:
            self._count += 1
            self._only_writes = self._only_writes and only_writes
            self._log_count(now)

    def _begin(self, now: float) -> None:
        again = self._ended_at is not None and now - self._ended_at < LINE_EVERY_S
        self._quiet_s = min(2 * self._quiet_s, LINE_EVERY_S) if again else QUIET_S
        self._away_since = self._logged_at = now
        self._count = 0
        _warn(self._lost, error=self._cause)

    def _log_count(self, now: float) -> None:
        if self._away_since is None or not self._count or now - self._logged_at < LINE_EVERY_S:
            return
        lasts_s = round(now - self._away_since)
        _warn(self._lost, error=self._cause, count=self._count, lasts_s=lasts_s)
        self._count, self._logged_at = 0, now

    def _end(self, now: float) -> None:
        if self._away_since is None or self._good_since is None:
            return
        if now - self._good_since >= self._quiet_s:
            lasted_s = round(self._good_since - self._away_since, 1)
            _warn(self._back, lasted_s=lasted_s, count=self._count)
            self._away_since = self._good_since = None
            self._ended_at = now


def _warn(event: str, **fields: Any) -> None:
    # The context is empty, so that the line has no fields of the request or upload that noticed the
    # outage.
    Context().run(log.warning, event, **fields)


DATABASE: Final = Outage("database is unavailable", "database is back")
BROKER: Final = Outage("broker is unavailable; the sweep takes over", "broker is back")
STORE: Final = Outage("store is unavailable", "store is back")
QUEUE: Final = Outage("queue is unavailable", "queue is back")
TRACES: Final = Outage("trace collector is unavailable: spans are lost", "trace collector is back")


async def keep_logging(*throttles: Throttle) -> None:
    """Log the lines of all parts and of `throttles` when they are due, until cancelled."""
    while True:
        await asyncio.sleep(TICK_S)
        for each in (DATABASE, BROKER, STORE, QUEUE, TRACES):
            each.tick()
        for throttle in throttles:
            throttle.flush()
