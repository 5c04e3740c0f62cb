"""The conditions under which a process is alive, and under which it is ready."""

import pytest

from shared.errors import QueueAway
from shared.liveness import Beat, Health


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets by hand, in seconds. It replaces the monotonic clock."""
    now = [1000.0]
    monkeypatch.setattr("shared.liveness.time.monotonic", lambda: now[0])
    return now


def test_work_that_is_silent_for_too_long_makes_a_process_dead(clock: list[float]) -> None:
    health = Health()
    beat = health.expect("sweep", within_s=30)
    clock[0] += 30
    assert health.faults() == {}
    clock[0] += 1
    assert health.faults() == {"sweep": "did not run for 31 s"}
    beat.beat()
    assert health.faults() == {}


def test_work_that_waits_on_purpose_is_not_expected(clock: list[float]) -> None:
    beat = Beat(30)
    with beat.resting():
        clock[0] += 1000
        assert beat.silent_s == 0
    clock[0] += 29
    assert beat.silent_s == 0
    clock[0] += 2
    assert beat.silent_s == 31


async def test_only_a_part_that_is_needed_makes_a_process_unready(clock: list[float]) -> None:
    health = Health()
    faults: dict[str, str | None] = {"database": None, "broker": None}
    asked: list[str] = []

    async def database() -> str | None:
        asked.append("database")
        if faults["database"]:
            raise QueueAway(faults["database"])
        return None

    async def broker() -> str | None:
        return faults["broker"]

    health.need("database", database)
    health.use("broker", broker)
    # The process is not ready, because it has not finished its start.
    assert await health.ask() == (False, {"database": "ok", "broker": "ok"})
    health.started = True
    assert await health.ask() == (True, {"database": "ok", "broker": "ok"})
    # The second response reuses the first result, so the database is asked only once.
    assert asked == ["database"]
    faults["broker"] = "away"
    clock[0] += 10
    assert await health.ask() == (True, {"database": "ok", "broker": "away"})
    faults["database"] = "refused"
    clock[0] += 10
    assert await health.ask() == (False, {"database": "refused", "broker": "away"})
