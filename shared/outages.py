"""Log outages of database, broker, store and collector: the beginning, a line a minute, the end.

Each request and each upload notices an outage, so a line for each would fill the log. A process has
one object for each part. The code that calls the part reports every fault and every success to it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final

from shared.log import get_logger

LINE_EVERY_S: Final = 60.0
"""Seconds between two lines while an outage lasts."""

QUIET_S: Final = 2.0
"""Seconds without a fault after which a part is back. A read-only broker answers some commands, so
one success proves nothing."""

BEGINNINGS: Final = 5
"""Maximum number of outages of one part whose beginning is logged in a minute; further outages are
only counted."""

log = get_logger(__name__)

Clock = Callable[[], float]


class Outage:
    """The state of one part: available or not. Its methods may be called from any thread."""

    def __init__(
        self,
        lost: str,
        back: str,
        *,
        beginnings: int = BEGINNINGS,
        clock: Clock = time.monotonic,
    ) -> None:
        """`lost` and `back` are the events of the log lines, `beginnings` is as BEGINNINGS."""
        self._lost = lost
        self._back = back
        self._beginnings = beginnings
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: list[float] = []
        self._away_since: float | None = None
        self._good_since: float | None = None
        self._logged_at: float | None = None
        self._count = 0
        self._cause = ""

    def fault(self, cause: str) -> None:
        """Record a fault. `cause` must hold no secret."""
        with self._lock:
            now = self._clock()
            self._cause, self._good_since = cause, None
            if self._away_since is None:
                self._begin(now)
            else:
                self._count += 1
            self._log_count(now)

    def success(self) -> None:
        """Record a success of the part; this costs nothing while the part is available."""
        if self._away_since is None:
            return
        with self._lock:
            if self._good_since is None:
                self._good_since = self._clock()
            self._end(self._clock())

    @property
    def away(self) -> str | None:
        """The cause of the outage that lasts; None while the part is available."""
        return None if self._away_since is None else self._cause

    @contextmanager
    def watch(self, kind: type[Exception], *, but: type[Exception]) -> Iterator[None]:
        """Record a fault if the block raises `kind`, a success if it ends well; ignore `but`."""
        try:
            yield
        except but:
            raise
        except kind as error:
            self.fault(str(error))
            raise
        self.success()

    def tick(self) -> None:
        """Log the lines that are due; call it every few seconds."""
        if self._away_since is None:
            return
        with self._lock:
            now = self._clock()
            self._end(now)
            self._log_count(now)

    def _begin(self, now: float) -> None:
        self._away_since, self._logged_at = now, None
        self._begun = [at for at in self._begun if now - at < LINE_EVERY_S]
        if len(self._begun) < self._beginnings:
            self._begun.append(now)
            self._logged_at = now
            _write(log.warning, self._lost, error=self._cause)
        else:
            self._count += 1

    def _log_count(self, now: float) -> None:
        if self._away_since is None or not self._count:
            return
        if now - (self._logged_at or self._away_since) >= LINE_EVERY_S:
            lasts_s = round(now - self._away_since)
            _write(log.warning, self._lost, error=self._cause, count=self._count, lasts_s=lasts_s)
            self._count, self._logged_at = 0, now

    def _end(self, now: float) -> None:
        if self._away_since is None or self._good_since is None:
            return
        if now - self._good_since >= QUIET_S:
            if self._logged_at is not None:
                lasted_s = round(self._good_since - self._away_since, 1)
                _write(log.info, self._back, lasted_s=lasted_s, count=self._count)
                self._count = 0
            self._away_since = self._good_since = None


def _write(write: Callable[..., None], event: str, **fields: Any) -> None:
    # An empty context is used, because the line is not about the request or the upload that noticed
    # the outage.
    Context().run(write, event, **fields)


DATABASE: Final = Outage("database is unavailable", "database is back")
BROKER: Final = Outage("broker is unavailable; the sweep takes over", "broker is back")
STORE: Final = Outage("store is unavailable", "store is back")
TRACES: Final = Outage(
    "trace collector is unavailable: spans are lost", "trace collector is back", beginnings=1
)


def tick() -> None:
    """Log the lines that are due for all parts; a process calls it every few seconds."""
    for each in (DATABASE, BROKER, STORE, TRACES):
        each.tick()
