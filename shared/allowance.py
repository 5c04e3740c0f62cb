"""How many dead letters each origin may add: a flood of them must not keep the database busy."""

import time

from shared.throttle import Clock

LETTERS_PER_S = 10.0
BURST = 100
"""So many letters of one origin are kept at once, then LETTERS_PER_S, in each process."""

MAX_ORIGINS = 1000


class Allowance:
    """A bucket for each origin, refilled as time passes; the least recently used are forgotten."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, origin: str) -> bool:
        """Tell whether an origin may add a letter now; if so, it has one less left."""
        now = self._clock()
        left, since = self._left.pop(origin, (float(BURST), now))
        left = min(float(BURST), left + (now - since) * LETTERS_PER_S)
        if len(self._left) >= MAX_ORIGINS:
            del self._left[next(iter(self._left))]
        allowed = left >= 1
        self._left[origin] = (left - 1 if allowed else left, now)
        return allowed
