"""Decide when failed work is retried.

A gate stops all calls to a store that denies them or is unavailable.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import (
    DecoderFault,
    ObjectChanged,
    ScannerUnavailable,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from shared.jitter import spread
from shared.log import get_logger
from shared.reasons import ReasonCode
from shared.throttle import Clock, Throttle

LONGEST_PURGE_PAUSE_S = 6 * 3600.0
LONGEST_CHECK_PAUSE_S = 900.0
"""The first number is the longest pause, in seconds, between two attempts to purge a row. The
second is the longest pause between two attempts to check a row. It is shorter, because a client may
wait for the result of a check."""

FAILURES = 3
"""Consecutive failed calls after which the gate closes."""

TRIAL_EVERY_S = 30.0
"""Interval, in seconds, at which a closed gate allows one trial call."""

log = get_logger(__name__)


def pause_s(attempt: int, *, first_s: float, longest_s: float) -> float:
    """Return the pause, in seconds, before a row is tried again that was postponed `attempt` times.

    The pause is `first_s`, doubled with each attempt, and at most `longest_s`. Up to a fifth is
    added or subtracted at random, so that rows that were postponed together are not due together.
    """
    return spread(min(first_s * 2.0 ** min(max(attempt, 0), 30), longest_s))


def backoff_s(attempt: int) -> float:
    """Return the pause, in seconds, after the failed attempt number `attempt`, which is 1 or more.

    The pauses are 5 s, 20 s, 80 s, 320 s, …, at most 15 minutes. Five attempts cover a store's
    outage of seven minutes. Up to a fifth is added or subtracted at random, so that uploads that
    failed together are not retried together.
    """
    return spread(min(5 * 4 ** (attempt - 1), 900))


def report(
    throttle: Throttle,
    event: str,
    error: StoreError | ScannerUnavailable | TimeoutError,
    **fields: Any,
) -> None:
    """Log that work was postponed because the store or the scanner failed.

    A failure that `shared.outages` logs too is logged here only at level debug. For any other
    failure, only a few lines are written for each cause, because a store that denies one call may
    deny all.
    """
    cause = f"{type(error).__name__}: {error}"
    if isinstance(error, StoreUnavailable | TimeoutError):
        log.debug(event, cause=cause, **fields)
    else:
        throttle(event, cause=cause, **fields)


def reason_of(error: Exception) -> ReasonCode:
    """Return the reason code with which an attempt is retried; `internal_error` for a bug."""
    match error:
        case StoreRefused():
            return "store_refused"
        case ObjectChanged():
            return "changing"
        case StoreError():
            return "store_unavailable"
        case ScannerUnavailable():
            return "scanner_unavailable"
        case DecoderFault():
            return error.code
        case _:
            return "internal_error"


class Gate:
    """Stops calls of one kind to the store while they fail: a circuit breaker.

    The gate closes after FAILURES consecutive failures. While it is closed, it allows one trial
    call every TRIAL_EVERY_S seconds. The gate opens again after the first call that succeeds.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_trial_at = 0.0
        self._last: StoreRefused | StoreUnavailable | None = None

    def closed(self) -> StoreError | None:
        """Return the last failure if the gate is closed, or None if a call is allowed now.

        If a trial is due, returns None once and schedules the next trial.
        """
        if self._failures < FAILURES:
            return None
        if self._clock() >= self._next_trial_at:
            self._next_trial_at = self._clock() + TRIAL_EVERY_S
            return None
        return self._last

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record how the call inside the `with` block ends, and pass its exceptions on.

        StoreRefused and StoreUnavailable count as failures. Any other StoreError is an answer about
        the object, so it counts as a success.
        """
        try:
            yield
        except (StoreRefused, StoreUnavailable) as error:
            self._failures += 1
            self._last = error
            self._next_trial_at = self._clock() + TRIAL_EVERY_S
            raise
        except StoreError:
            self._failures = 0
            raise
        self._failures = 0
