"""An outage is logged when it begins, once a minute, and when it ends."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.outages import LINE_EVERY_S, Outage


class Clock:
    """A clock that advances only when a test sets it, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that starts at 1000 s and that a test can set."""
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    """Make the outage log of a part that is available."""
    return Outage("part is unavailable", "part is back", clock=clock)


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_thousands_of_faults_are_a_line_a_minute_with_a_count(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        for number in range(1, 3001):
            clock.now = 1000 + number * 0.06  # the faults come within three minutes
            outage.fault(f"cause {number}")
        outage.success()
        clock.now += 3
        outage.success()
    assert events(lines) == ["part is unavailable"] * 3 + ["part is back"]
    assert lines[0]["error"] == "cause 1"
    assert {line["log_level"] for line in lines} == {"warning"}
    assert sum(line.get("count", 1) for line in lines) == 3000
    assert lines[-1]["lasted_s"] == pytest.approx(180, abs=1)


def test_a_success_among_faults_is_not_the_end(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        for _ in range(100):
            outage.fault("refused")
            clock.now += 0.1
            outage.success()
            clock.now += 0.1
    assert events(lines) == ["part is unavailable"]


def test_the_end_is_logged_by_a_tick_if_nothing_else_happens(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        outage.fault("refused")
        outage.success()
        clock.now += 10
        outage.tick()
        outage.tick()
    assert events(lines) == ["part is unavailable", "part is back"]


def test_a_second_outage_within_the_minute_is_logged_as_well(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        for quiet_s in (3, 5):
            outage.fault("refused")
            outage.success()
            clock.now += quiet_s
            outage.tick()
    assert events(lines) == ["part is unavailable", "part is back"] * 2


def test_a_part_that_comes_and_goes_fills_no_log(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        for _ in range(1000):
            outage.fault("refused")
            outage.success()
            clock.now += 3
            outage.tick()
    # An outage ends only after some seconds without faults. For the second outage, this time is
    # twice as long. Its faults come every three seconds, so the second outage does not end.
    assert events(lines)[:3] == ["part is unavailable", "part is back", "part is unavailable"]
    assert set(events(lines)[3:]) == {"part is unavailable"}
    assert len(lines) <= 3 + 3000 / LINE_EVERY_S
    assert sum(line.get("count", 1) for line in lines if "back" not in line["event"]) > 950
    outage.success()
    clock.now += LINE_EVERY_S
    with capture_logs() as lines:
        outage.tick()
    assert events(lines) == ["part is back"]


def test_after_a_good_minute_an_outage_ends_as_fast_as_the_first(
    outage: Outage, clock: Clock
) -> None:
    with capture_logs() as lines:
        for quiet_s, pause_s in ((3, 1), (5, LINE_EVERY_S), (3, 1)):
            outage.fault("refused")
            outage.success()
            clock.now += quiet_s
            outage.tick()
            clock.now += pause_s
    assert events(lines) == ["part is unavailable", "part is back"] * 3


def test_a_part_that_only_reads_is_not_back_before_it_writes(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        outage.fault("read-only", only_writes=True)
        for _ in range(10):
            outage.success()
            clock.now += 3
            outage.tick()
        assert outage.needs_write
        outage.success(wrote=True)
        clock.now += 3
        outage.tick()
    assert events(lines) == ["part is unavailable", "part is back"]
    assert not outage.needs_write


def test_a_part_that_did_not_answer_is_back_once_it_reads(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        outage.fault("read-only", only_writes=True)
        outage.fault("no answer")
        outage.success()
        clock.now += 3
        outage.tick()
    assert events(lines) == ["part is unavailable", "part is back"]


def test_a_late_fault_does_not_undo_a_success(outage: Outage, clock: Clock) -> None:
    with capture_logs() as lines:
        outage.late_fault("an acknowledgement failed")
        outage.fault("refused")
        outage.success()
        outage.late_fault("an acknowledgement failed")
        clock.now += 3
        outage.tick()
    assert events(lines) == ["part is unavailable", "part is back"]
    assert lines[-1]["count"] == 2
