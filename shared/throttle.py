"""Lines of the log that come again and again: the first ones at once, then one a minute.

No count is lost: the sum of `count` (1 where a line has none) over all lines of an event is how
often it happened.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

LINE_EVERY_S = 60.0
MAX_CAUSES = 100
"""How many causes a worker counts at one time: some of their text comes from the store."""

Clock = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Counted:
    """One key since `written_at`: how many lines were written and not, the last one's fields."""

    written_at: float
    written: int = 1
    count: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


class Throttle:
    """Writes the first lines of a key at once, then at most one a minute, with a count.

    `at_once` lines of a key are written before counting begins. At most `max_keys` keys are told
    apart at one time. While there are so many, lines of further keys are counted together, one
    line a minute for each event: the log is bounded however many keys there are.
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
        # Both are ordered by written_at, the oldest first.
        self._causes: dict[tuple[str, Hashable], Counted] = {}
        self._further: dict[tuple[str, Hashable], Counted] = {}

    def __call__(self, event: str, *, cause: str, **fields: Any) -> None:
        """Write or count a line of a cause, which is also one of the line's fields."""
        self.log(event, cause, cause=cause, **fields)

    def log(self, event: str, key: Hashable, /, **fields: Any) -> None:
        """Write or count a line; the line that is written later has the fields of the last one.

        `event` must be a constant of the code: events are not bounded in number.
        """
        self.flush()
        table, place = self._causes, (event, key)
        if place not in table and len(table) >= self._max_keys:
            table, place = self._further, (event, None)
        counted = table.get(place)
        if counted is None:
            table[place] = Counted(written_at=self._clock())
        elif table is self._causes and counted.written < self._at_once and not counted.count:
            counted.written += 1
        else:
            counted.count += 1
            counted.fields = fields
            return
        self._write(event, **fields)

    def flush(self) -> None:
        """Write what was counted, where a minute is over; forget a key that no longer comes."""
        now = self._clock()
        for table in (self._causes, self._further):
            while table:
                place, counted = next(iter(table.items()))
                if now - counted.written_at < LINE_EVERY_S:
                    break
                del table[place]
                if counted.count:
                    self._write_counted(place, counted)
                    table[place] = Counted(written_at=now, written=self._at_once)

    def close(self) -> None:
        """Write all that was counted."""
        for table in (self._causes, self._further):
            while table:
                self._write_counted(*table.popitem())

    def _write_counted(self, place: tuple[str, Hashable], counted: Counted) -> None:
        if counted.count:
            self._write(place[0], count=counted.count, **counted.fields)
