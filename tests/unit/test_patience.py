"""If the store fails, a worker makes longer pauses, stops its calls, and logs few lines."""

from typing import Any

import pytest

from shared.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from shared.throttle import LINE_EVERY_S, MAX_CAUSES, Throttle
from worker.patience import FAILURES, TRIAL_EVERY_S, Gate
from worker.patience import pause_s as pause


class Clock:
    """A clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_up_to_the_longest_for_every_attempt() -> None:
    for attempt, wanted in ((-1, 30), (0, 30), (1, 60), (4, 480), (20, 3600), (10**9, 3600)):
        found = pause(attempt, first_s=30, longest_s=3600)
        assert 0.8 * wanted <= found <= 1.2 * wanted
    assert len({pause(3, first_s=30, longest_s=3600) for _ in range(20)}) > 1


def fail(gate: Gate, error: StoreError) -> None:
    """Make a call through the gate. The call fails with this error."""
    with pytest.raises(type(error)), gate.watch():
        raise error


@pytest.mark.parametrize("error", [StoreRefused("AccessDenied"), StoreUnavailable("503")])
def test_a_gate_closes_after_failures_in_a_row_and_lets_one_trial_through(
    error: StoreError,
) -> None:
    clock = Clock()
    gate = Gate(clock=clock)
    for _ in range(FAILURES):
        assert gate.closed() is None
        fail(gate, error)
    assert gate.closed() is error
    clock.now += TRIAL_EVERY_S
    assert gate.closed() is None
    assert gate.closed() is not None  # the gate allows only one trial call
    fail(gate, error)
    assert gate.closed() is not None
    clock.now += TRIAL_EVERY_S
    assert gate.closed() is None
    with gate.watch():
        pass
    assert [gate.closed() for _ in range(3)] == [None] * 3


def test_an_answer_about_the_object_opens_a_gate_as_a_success_does() -> None:
    gate = Gate(clock=Clock())
    for _ in range(5 * FAILURES):
        fail(gate, StoreRefused("AccessDenied"))
        fail(gate, ObjectMissing("NoSuchKey"))
        assert gate.closed() is None


def test_a_fault_that_is_not_the_stores_leaves_a_gate_as_it_is() -> None:
    gate = Gate(clock=Clock())
    for _ in range(FAILURES):
        fail(gate, StoreRefused("AccessDenied"))
    with pytest.raises(ValueError, match="ours"), gate.watch():
        raise ValueError("ours")
    assert gate.closed() is not None


class Lines:
    """A throttle with a clock, and the log lines that the throttle writes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.throttle = Throttle(self._write, clock=self.clock)

    def _write(self, event: str, **fields: Any) -> None:
        self.written.append((event, fields))


def test_the_first_line_is_written_at_once_and_the_others_counted_for_a_minute() -> None:
    lines = Lines()
    for number in range(1, 1001):
        lines.throttle("postponed", cause="no", attachment=number)
    assert lines.written == [("postponed", {"cause": "no", "attachment": 1})]
    lines.clock.now += LINE_EVERY_S
    lines.throttle.flush()
    lines.throttle.flush()
    assert lines.written[1:] == [("postponed", {"cause": "no", "attachment": 1000, "count": 999})]
    lines.throttle("postponed", cause="no", attachment=5)
    assert len(lines.written) == 2
    lines.throttle.close()
    assert lines.written[2:] == [("postponed", {"cause": "no", "attachment": 5, "count": 1})]


def test_a_cause_that_comes_again_after_a_quiet_minute_is_written_at_once() -> None:
    lines = Lines()
    for _ in range(3):
        lines.throttle("postponed", cause="no")
        lines.clock.now += LINE_EVERY_S
    assert lines.written == [("postponed", {"cause": "no"})] * 3


def test_causes_and_events_are_counted_apart_and_are_bounded() -> None:
    lines = Lines()
    lines.throttle("postponed", cause="no")
    lines.throttle("attempt failed", cause="no")
    assert len(lines.written) == 2
    for number in range(10 * MAX_CAUSES):
        lines.throttle("postponed", cause=str(number))
    assert len(lines.throttle._causes) <= MAX_CAUSES
