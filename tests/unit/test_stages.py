"""The stages of an attempt to process an upload, and the seconds that each stage takes."""

import asyncio
from datetime import timedelta

import pytest

from tests.support.rows import CREATED_AT, attachment
from worker.stages import Stage, begin, current, measured


@pytest.mark.parametrize(
    ("attempt", "age_s", "queued"),
    [
        pytest.param(1, 12.0, {"queued": 2.0}, id="first attempt"),
        pytest.param(1, 9.5, {"queued": 0.0}, id="recorded in the next second"),
        pytest.param(2, 12.0, {}, id="later attempt, which waits on purpose"),
    ],
)
def test_an_upload_queues_from_its_record_to_its_first_claim(
    attempt: int, age_s: float, queued: dict[str, float]
) -> None:
    claimed = attachment(
        attempt=attempt,
        age_s=age_s,
        created_at=CREATED_AT,
        uploaded_at=CREATED_AT + timedelta(seconds=10),
    )
    with begin(claimed) as stages:
        assert stages.seconds() == queued


async def test_tasks_of_an_attempt_add_to_its_record_and_to_no_other() -> None:
    async def attempt(*names: Stage) -> list[str]:
        with begin(attachment(attempt=2)) as stages:
            for name in names:
                with measured(name):
                    await asyncio.sleep(0)
            await asyncio.create_task(decode())
        return [each.stage for each in stages.intervals]

    async def decode() -> None:
        with measured("decode"):
            await asyncio.sleep(0)

    first, second = await asyncio.gather(attempt("read", "sniff"), attempt("read"))
    assert first == ["read", "sniff", "decode"]
    assert second == ["read", "decode"]
    assert current() is None


def test_a_stage_that_fails_is_recorded_and_one_outside_an_attempt_is_not() -> None:
    with measured("read"):
        assert current() is None
    with (
        begin(attachment(attempt=2)) as stages,
        pytest.raises(OSError, match="gone"),
        measured("read"),
    ):
        raise OSError("gone")
    assert list(stages.seconds()) == ["read"]
