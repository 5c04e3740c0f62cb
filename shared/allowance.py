"""Limit the rate of new dead letters of each origin, so that a flood does not load the database.

A dead letter is an event that could not be used. Its origin is its sender together with its
dialect.
"""

import time

from shared.throttle import Clock

LETTERS_PER_S = 10.0
BURST = 100
"""Each process stores up to BURST dead letters of one origin at once, then LETTERS_PER_S per
second."""

MAX_ORIGINS = 1000


class Allowance:
    """Keeps a token bucket for each origin, and drops the least recently used buckets."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, origin: str) -> bool:
        """Return whether one more dead letter of an origin may be stored now. If so, count it."""
        now = self._clock()
        left, since = self._left.pop(origin, (float(BURST), now))
        left = min(float(BURST), left + (now - since) * LETTERS_PER_S)
        if len(self._left) >= MAX_ORIGINS:
            del self._left[next(iter(self._left))]
        allowed = left >= 1
        self._left[origin] = (left - 1 if allowed else left, now)
        return allowed
