"""Wake-ups that wait for a worker's slot: their order, their limits, and which of them
are dropped.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from shared.lifecycle import WakeUp
from shared.throttle import Throttle
from worker.jobs import Jobs
from worker.reception import Reception
from worker.slots import Slot, Slots

A, B, C = 1, 2, 3


def wake_up(number: int, organization: int = A) -> WakeUp:
    return WakeUp(attachment_id=number, organization_id=organization, revision=1)


class Desk:
    """A worker's reception of wake-ups. The uploads end only when the test ends them."""

    def __init__(self, total: int = 8, **bounds: int) -> None:
        self.lines: list[str] = []
        self.begun: list[tuple[WakeUp, asyncio.Event]] = []
        throttle = Throttle(lambda event, **_: self.lines.append(event))
        self.reception = Reception(Slots(total), Jobs(), self._attempt, throttle, **bounds)

    def _attempt(self, _: Slot, begun: WakeUp) -> Coroutine[Any, Any, None]:
        ended = asyncio.Event()
        self.begun.append((begun, ended))

        async def attempt() -> None:
            await ended.wait()

        return attempt()

    def flood(self, count: int, organization: int = A) -> None:
        """Receive `count` wake-ups of an organization.

        The first attachment id is 1000 times the organization's id. The others follow it.
        """
        for number in range(count):
            self.reception.receive(wake_up(1000 * organization + number, organization))

    async def end_first(self) -> None:
        """End the upload that started first."""
        _, ended = self.begun.pop(0)
        ended.set()
        # The event loop needs several rounds until the end of the task is processed.
        for _ in range(4):
            await asyncio.sleep(0)

    def begun_of(self, organization: int) -> list[int]:
        """Return the attachment ids of the organization's uploads that are in progress."""
        return [
            begun.attachment_id for begun, _ in self.begun if begun.organization_id == organization
        ]


async def test_one_alone_has_all_slots_for_wake_ups_in_the_order_of_arrival() -> None:
    desk = Desk()
    desk.flood(20)
    assert desk.begun_of(A) == list(range(1000, 1006))
    for _ in range(14):
        await desk.end_first()
    assert desk.begun_of(A) == list(range(1014, 1020))


async def test_one_that_comes_after_a_flood_begins_at_once() -> None:
    desk = Desk()
    desk.flood(4000)
    desk.reception.receive(wake_up(1, B))
    assert desk.begun_of(B) == [1]


async def test_others_have_the_next_slots_until_all_have_as_many() -> None:
    desk = Desk()
    desk.flood(100)
    desk.flood(100, B)
    desk.flood(100, C)
    for _ in range(10):
        await desk.end_first()
    counts = sorted(len(desk.begun_of(each)) for each in (A, B, C))
    assert counts == [2, 2, 2]


async def test_a_wake_up_that_comes_twice_waits_once() -> None:
    desk = Desk(total=2)
    for _ in range(3):
        desk.flood(2)
    assert sorted(each.attachment_id for each in desk.reception.close()) == [1000, 1001]


@pytest.mark.parametrize("organization", [A, B])
async def test_of_one_organization_no_more_wait_than_so_many(organization: int) -> None:
    desk = Desk(total=2, waiting_each=3)
    desk.flood(10)
    desk.flood(3, B)
    left = [each.attachment_id for each in desk.reception.close()]
    assert [each for each in left if each // 1000 == organization] == [
        1000 * organization + number + (organization == A) for number in range(3)
    ]
    assert desk.lines == ["wake-ups left to the sweep"]


async def test_where_too_many_wait_in_all_the_one_that_has_most_loses_its_newest() -> None:
    desk = Desk(total=2, waiting=10)
    desk.flood(11)
    desk.flood(4, B)
    left = [each.attachment_id for each in desk.reception.close()]
    assert left == [*range(1001, 1007), *range(2000, 2004)]


async def test_after_close_no_job_starts() -> None:
    desk = Desk(total=2)
    desk.flood(5)
    assert len(desk.reception.close()) == 4
    desk.reception.receive(wake_up(1, B))
    await desk.end_first()
    assert desk.begun == []
