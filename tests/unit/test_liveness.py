"""The conditions under which a process is alive, and under which it is ready."""

import pytest

from shared.errors import QueueAway
from shared.liveness import NOT_YET, Beat, Health, Readiness


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the monotonic clock. The only item of the returned list is the time in seconds."""
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
    assert await health.ask() == ready(database="ok", broker="ok")
    # The second call returns the result of the first, so the database is asked only once.
    assert await health.ask() == ready(database="ok", broker="ok")
    assert asked == ["database"]
    faults["broker"] = "away"
    clock[0] += 10
    assert await health.ask() == ready(database="ok", broker="away")
    faults["database"] = "refused"
    clock[0] += 10
    found = await health.ask()
    assert found.parts == {"database": "refused", "broker": "away"}
    assert (found.status, found.missing) == ("not ready", ("database",))


def ready(**parts: str) -> Readiness:
    return Readiness(status="ready", parts=parts, missing=())


async def fine() -> str | None:
    return None


async def away() -> str | None:
    return "away"


async def test_the_start_waits_for_its_step_and_reports_its_fault(clock: list[float]) -> None:
    health = Health(step="broker")
    health.need("database", fine)
    parts = {"database": "ok", "broker": NOT_YET}
    starting = Readiness(status="starting", parts=parts, missing=("broker",))
    assert await health.ask() == starting
    health.use("broker", away)
    clock[0] += 10
    assert (await health.ask()).parts["broker"] == "away"
    health.step = None
    assert (await health.ask()).status == "ready"
    health.stopping = True
    assert (await health.ask()).status == "stopping"


async def test_an_earlier_answer_proves_nothing_of_a_part_that_was_added(
    clock: list[float],
) -> None:
    health = Health()
    assert (await health.ask()).status == "ready"
    health.need("database", away)
    assert (await health.ask()).missing == ("database",)
