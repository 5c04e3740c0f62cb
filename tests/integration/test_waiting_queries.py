"""Waiting clients cause no query while notifications arrive, and otherwise share one query."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from api import waiters
from shared import settling
from shared.database import Connection
from tests.support.resources import PATH
from tests.support.service import Answer, Service, until
from tests.support.starting import StartService

WAITING = 60
LOOKS = 30
LOOK_EVERY_S = 0.02


class Looks:
    """Counts how often a process looks for settled attachments, and records the queries.

    Each look calls `hears` twice. `asked` counts these calls, so it is twice the number of looks.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.queries: list[list[int]] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(waiters, "LOOK_EVERY_S", LOOK_EVERY_S)
        monkeypatch.setattr(waiters, "UNSURE_S", 0)
        find = settling.find_settled

        async def find_counted(connection: Connection, ids: Sequence[int]) -> list[int]:
            self.queries.append(sorted(ids))
            return await find(connection, ids)

        monkeypatch.setattr(settling, "find_settled", find_counted)

    def follow(self, service: Service) -> None:
        """Count how often a service looks for settled attachments."""
        hears = service.waiters.hears

        def hears_counted() -> bool:
            self.asked += 1
            return hears()

        self._monkeypatch.setattr(service.waiters, "hears", hears_counted)

    async def until_more(self, looks: int) -> None:
        """Wait until the process has looked `looks` more times."""
        target = self.asked + 2 * looks

        async def looked() -> bool:
            return self.asked >= target

        await until(looked, within_s=30)


async def begin(service: Service) -> tuple[list[int], "list[asyncio.Task[Answer]]"]:
    """Let WAITING clients wait, each for its own attachment."""
    made = [await service.client.create() for _ in range(WAITING)]
    ids = [int(each["data"]["id"]) for each in made]
    tasks = [
        asyncio.create_task(service.client.request("GET", f"{PATH}/{each}?wait=30")) for each in ids
    ]

    async def all_wait() -> bool:
        return service.waiters.count == WAITING

    await until(all_wait)
    return ids, tasks


async def settle(service: Service, ids: Sequence[int], tasks: Sequence[Any]) -> None:
    """Settle all attachments, and check that every client is answered."""
    await service.execute("UPDATE attachments SET state = 'ready' WHERE id = ANY($1)", ids)
    answers = await asyncio.gather(*tasks)
    assert {each.data["meta"]["state"] for each in answers} == {"ready"}


async def test_no_query_is_made_while_notifications_arrive(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    service = await start_service()
    looks.follow(service)

    async def hears() -> bool:
        return service.waiters.hears()

    await until(hears)
    ids, tasks = await begin(service)
    await looks.until_more(1)
    before = len(looks.queries)
    await looks.until_more(LOOKS)

    assert len(looks.queries) == before
    await settle(service, ids, tasks)


async def test_without_notifications_one_query_of_each_look_serves_all_clients(
    start_service: StartService, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    service = await start_service(database_url=f"{database_url}?pgbouncer=true")
    looks.follow(service)

    ids, tasks = await begin(service)
    await looks.until_more(1)
    looks.asked, looks.queries = 0, []
    await looks.until_more(LOOKS)

    assert not service.waiters.hears()
    assert abs(len(looks.queries) - looks.asked / 2) <= 1
    assert all(each == ids for each in looks.queries)
    await settle(service, ids, tasks)
