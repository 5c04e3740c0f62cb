"""How to live with a store that says no: ask less and less often."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import StoreError, StoreRefused, StoreUnavailable
from shared.jitter import spread
from shared.throttle import Clock

LONGEST_PURGE_PAUSE_S = 6 * 3600.0
LONGEST_PROBE_PAUSE_S = 900.0
"""The longest pause between two looks at a row. Someone may wait for the outcome of a probe; nobody
waits for a purge."""

FAILURES = 3
"""After so many failed calls without one that succeeds, no more are made for the moment."""

TRIAL_EVERY_S = 30.0
"""How often one call is tried all the same."""


def pause_s(attempt: int, *, first_s: float, longest_s: float) -> float:
    """Return how long to leave a row that was put off `attempt` times before, in seconds.

    `first_s` doubled with each attempt, at most `longest_s`; a fifth is added or taken off at
    random, so that rows that were put off together do not come back together.
    """
    return spread(min(first_s * 2.0 ** min(max(attempt, 0), 30), longest_s))


def cause_of(error: StoreError) -> str:
    """Name a failure of the store for the log and for the count of its lines."""
    return f"{type(error).__name__}: {error}"


class Gate:
    """Keeps calls of one kind from a store that does not grant them.

    Closes after FAILURES in a row, lets one call through every TRIAL_EVERY_S, and opens again with
    the first that succeeds.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_trial_at = 0.0
        self._cause = ""

    def closed(self) -> str | None:
        """Return why no call may be made now, or None if one may."""
        if self._failures < FAILURES:
            return None
        if self._clock() >= self._next_trial_at:
            self._next_trial_at = self._clock() + TRIAL_EVERY_S
            return None
        return self._cause

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note how a call ends. Every StoreError but these two is an answer about the object."""
        try:
            yield
        except (StoreRefused, StoreUnavailable) as error:
            self._failures += 1
            self._cause = cause_of(error)
            self._next_trial_at = self._clock() + TRIAL_EVERY_S
            raise
        except StoreError:
            self._failures = 0
            raise
        self._failures = 0
