"""Repeated log lines are limited in number, and their counts include every suppressed line."""

from collections import Counter
from typing import Any

from shared.log_fields import Fields, merge_fields
from shared.throttle import LINE_EVERY_S, Throttle


class Lines:
    """A throttle with a clock that a test sets, and the log lines of this throttle."""

    def __init__(self, **options: int) -> None:
        self.now = 1000.0
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.throttle = Throttle(self._write, clock=lambda: self.now, **options)

    def _write(self, event: str, **fields: Any) -> None:
        self.written.append((event, dict(merge_fields(None, "warning", fields))))

    def totals(self) -> Counter[str]:
        """Return, for each event name, the sum of the counts in its lines."""
        found: Counter[str] = Counter()
        for event, fields in self.written:
            found[event] += fields.get("count", 1)
        return found


def test_the_first_lines_are_written_at_once_and_then_one_a_minute() -> None:
    lines = Lines(at_once=3)
    for number in range(100):
        lines.throttle.log("refused", "a", number=number)
    assert [fields["number"] for _, fields in lines.written] == [0, 1, 2]
    for _ in range(3):
        lines.now += LINE_EVERY_S
        for _ in range(50):
            lines.throttle.log("refused", "a", number=7)
    assert [fields.get("count") for _, fields in lines.written[3:]] == [97, 50, 50]
    lines.throttle.close()
    assert lines.totals() == {"refused": 250}


def test_however_many_keys_there_are_the_lines_are_bounded_and_counted() -> None:
    lines = Lines(at_once=3, max_keys=10)
    for number in range(5000):
        lines.throttle.log("refused", f"address {number}")
        lines.throttle.log("denied", f"address {number}")
    assert len(lines.written) == 10 + 2
    lines.now += LINE_EVERY_S
    lines.throttle.flush()
    assert len(lines.written) == 10 + 2 + 2
    assert lines.totals() == {"refused": 5000, "denied": 5000}
    # The throttle has forgotten the keys of the last minute, so this key gets its own line.
    lines.throttle.log("refused", "another", number=1)
    assert lines.written[-1] == ("refused", {"number": 1})


def test_a_count_is_written_in_time_though_nothing_else_comes() -> None:
    lines = Lines()
    for _ in range(3):
        lines.throttle.log("refused", "a")
    lines.now += LINE_EVERY_S
    lines.throttle.flush()
    lines.now += 10 * LINE_EVERY_S
    lines.throttle.flush()
    assert [fields.get("count") for _, fields in lines.written] == [None, 2]


def test_a_counted_line_has_no_fields_of_the_request_that_writes_it() -> None:
    lines = Lines()
    with Fields(request_id="first"):
        lines.throttle.log("refused", "a", number=1)
    with Fields(request_id="second"):
        lines.throttle.log("refused", "a", number=2)
    lines.now += LINE_EVERY_S
    with Fields(request_id="unrelated"):
        lines.throttle.log("denied", "b")
    with Fields(request_id="last"):
        lines.throttle.log("refused", "a", number=3)
        lines.throttle.close()
    assert lines.written == [
        ("refused", {"number": 1, "request_id": "first"}),
        ("refused", {"count": 1, "number": 2}),
        ("denied", {"request_id": "unrelated"}),
        ("refused", {"count": 1, "number": 3}),
    ]
