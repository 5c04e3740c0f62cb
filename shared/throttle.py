"""Limit repeated log lines: the first ones are written at once, then one line a minute.

No repetition is lost: for each event, the sum of `count` over all its lines is how often it
happened. A line without `count` counts as 1.
"""

import time
from collections.abc import Callable, Hashable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

LINE_EVERY_S = 60.0
MAX_CAUSES = 100
"""At most this many keys are counted separately. The limit is needed, because keys may be texts
that the store chose."""

Clock = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Counted:
    """The numbers of a key's lines that were written since `written_at`, and only counted."""

    written_at: float
    written: int = 1
    count: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


class Throttle:
    """Writes the first lines of a key at once, then at most one line a minute, with a count.

    The first `at_once` lines of a key are written. At most `max_keys` keys are counted separately
    at one time. The lines of further keys are counted together, with one line a minute for each
    event. So the log stays small for any number of keys.
    """

    def __init__(
        self,
        write: Callable[..., None],
        *,
        at_once: int = 1,
        max_keys: int = MAX_CAUSES,
        clock: Clock = time.monotonic,
    ) -> None:
        self._write = write
        self._at_once = at_once
        self._max_keys = max_keys
        self._clock = clock
        # Both dicts are in the order of written_at, the oldest first.
        self._causes: dict[tuple[str, Hashable], Counted] = {}
        self._further: dict[tuple[str, Hashable], Counted] = {}

    def __call__(self, event: str, *, cause: str, **fields: Any) -> None:
        """Write or count a line with the key `cause`. The line has `cause` as a field too."""
        self.log(event, cause, cause=cause, **fields)

    def log(self, event: str, key: Hashable, /, **fields: Any) -> None:
        """Write a line, or only count it.

        Counted lines are written later as one line, with the fields of the last one.

        `event` must be a constant in the code, because the number of events is not limited.
        """
        self.flush()
        table, entry = self._causes, (event, key)
        if entry not in table and len(table) >= self._max_keys:
            table, entry = self._further, (event, None)
        counted = table.get(entry)
        if counted is None:
            table[entry] = Counted(written_at=self._clock())
        elif table is self._causes and counted.written < self._at_once and not counted.count:
            counted.written += 1
        else:
            counted.count += 1
            counted.fields = fields
            return
        self._write(event, **fields)

    def flush(self) -> None:
        """Write the counted lines whose minute is over. Drop keys without counted lines."""
        now = self._clock()
        for table in (self._causes, self._further):
            while table:
                entry, counted = next(iter(table.items()))
                if now - counted.written_at < LINE_EVERY_S:
                    break
                del table[entry]
                if counted.count:
                    self._write_counted(entry, counted)
                    table[entry] = Counted(written_at=now, written=self._at_once)

    def close(self) -> None:
        """Write all counted lines now."""
        for table in (self._causes, self._further):
            while table:
                self._write_counted(*table.popitem())

    def _write_counted(self, entry: tuple[str, Hashable], counted: Counted) -> None:
        # The context is empty, so that the line has no fields of the request or upload during which
        # it is written.
        if counted.count:
            Context().run(self._write, entry[0], count=counted.count, **counted.fields)
