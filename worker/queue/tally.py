"""Count the effects of the queue's events for Prometheus, and log the counts regularly.

The log has the counts too, because the address for Prometheus is off by default.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

from shared.log import get_logger
from shared.metrics import EVENTS
from shared.notifications.event import Effect

LOGGED_EVERY_S = 60.0
"""Interval, in seconds, at which the consumer logs counts above 0."""

log = get_logger(__name__)


class Tally:
    """The counts of effects since the last log line, by the dialect of the messages."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[Effect]] = defaultdict(Counter)

    def add(self, dialect: str, counts: Mapping[Effect, int]) -> None:
        """Add the effects of one message's events."""
        self._counts[dialect] += Counter(counts)
        for effect, count in counts.items():
            if count:
                EVENTS.labels(dialect, effect).inc(count)

    def log(self) -> None:
        """Log the counts since the last call, if any is above 0."""
        counts = {dialect: dict(found) for dialect, found in self._counts.items() if found}
        self._counts.clear()
        if counts:
            log.info("events received", counts=counts)
