"""Many clients of one organization that begin to wait at one moment: none of them is refused."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from api import row_groups
from api.waiters import MAX_BY_TICKET_EACH
from shared import attachments
from shared.attachments import Attachment
from shared.database import Connection
from shared.shares import WAITING
from tests.support.resources import NOT_FOUND, PATH, is_error
from tests.support.service import Answer, Client, Service, until
from tests.support.starting import StartService
from tests.support.tickets import look

CROWD = 1000
LONG_S = 30
BULK = "application/vnd.api+json; ext=bulk"


@pytest_asyncio.fixture
async def crowded(start_service: StartService) -> AsyncIterator[Service]:
    """Start a service without a rate limit. Its client opens any number of connections."""
    service = await start_service(rate_limit="0")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield replace(service, client=replace(service.client, session=session))


async def create_many(client: Client, count: int) -> list[Any]:
    """Create attachments in bulk, and return their resources."""
    item = {"type": "attachments", "attributes": {"name": "a.png"}}
    made: list[Any] = []
    while len(made) < count:
        answer = await client.request(
            "POST", PATH, {"data": [item] * 100}, headers={"Content-Type": BULK, "Accept": BULK}
        )
        made += answer.data
    return made[:count]


def ids_of(made: Sequence[Any]) -> list[str]:
    """Return the ids of resources."""
    return [each["id"] for each in made]


def wait_for_each(client: Client, ids: Sequence[str]) -> "list[asyncio.Task[Answer]]":
    """Start one request for each attachment. Each request waits until its attachment is settled."""
    paths = [f"{PATH}/{each}?wait={LONG_S}" for each in ids]
    return [asyncio.create_task(client.request("GET", path)) for path in paths]


async def settle_all(service: Service) -> None:
    """Settle all attachments, as workers' commits do."""
    await service.execute("UPDATE attachments SET state = 'ready'")


async def test_a_thousand_that_come_at_once_are_all_served(crowded: Service) -> None:
    assert CROWD > WAITING
    other = await crowded.organization()
    foreign = ids_of(await create_many(other, 20))
    ids = ids_of(await create_many(crowded.client, CROWD))
    # The foreign ids are read in the same statements as the other ids.
    at_once = wait_for_each(crowded.client, [*ids[:500], *foreign, *ids[500:]])
    own, strange = [*at_once[:500], *at_once[520:]], at_once[500:520]

    async def all_wait() -> bool:
        assert not any(each.done() for each in own)
        return crowded.waiters.count == CROWD

    refused = await asyncio.gather(*strange)
    await until(all_wait, within_s=60)
    await settle_all(crowded)

    answers = await asyncio.gather(*own)
    assert {each.status for each in answers} == {200}
    assert [each.data["id"] for each in answers] == ids
    assert {each.data["meta"]["state"] for each in answers} == {"ready"}
    assert all(is_error(each, NOT_FOUND) for each in refused)


async def test_many_pages_that_come_at_once_are_all_served(crowded: Service) -> None:
    assert MAX_BY_TICKET_EACH >= 2
    created = await create_many(crowded.client, WAITING)
    tasks = [look(crowded, each, f"&wait={LONG_S}") for each in created * 2]

    async def all_wait() -> bool:
        return crowded.waiters.count == len(tasks)

    await until(all_wait, within_s=60)
    await settle_all(crowded)

    answers = await asyncio.gather(*tasks)
    assert {each.status for each in answers} == {200}
    assert {each.data["meta"]["state"] for each in answers} == {"ready"}


class Statements:
    """The ids that each statement of RowGroups has read. The first statement waits for `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[list[int]] = []
        self.go = asyncio.Event()
        find = attachments.find_rows

        async def find_noted(connection: Connection, ids: Sequence[int]) -> dict[int, Attachment]:
            self.groups.append(list(ids))
            await self.go.wait()
            return await find(connection, ids)

        monkeypatch.setattr(attachments, "find_rows", find_noted)

    async def begun(self) -> bool:
        """Return True if a statement has begun."""
        return bool(self.groups)


async def test_a_crowd_delays_the_first_read_of_another_by_one_group(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = Statements(monkeypatch)
    rows, own = service.waiters.rows, service.client.organization_id
    attachment_id = int((await service.client.create())["data"]["id"])
    numbers = range(attachment_id + 1, attachment_id + 1 + 5 * row_groups.MAX_ROWS)
    crowd = [asyncio.create_task(rows.find(each, own + 1)) for each in numbers]
    await until(statements.begun)
    late = asyncio.create_task(rows.find(attachment_id, own))
    foreign = asyncio.create_task(rows.find(attachment_id, own + 2))
    await asyncio.sleep(0)
    statements.go.set()

    found = await late

    assert found is not None
    assert found.id == attachment_id
    assert await foreign is None
    assert set(await asyncio.gather(*crowd)) == {None}
    assert attachment_id in statements.groups[1]
    assert [len(each) for each in statements.groups] == [row_groups.MAX_ROWS] * 5 + [1]
    read = sorted(number for group in statements.groups for number in group)
    assert read == sorted([attachment_id, *numbers])


async def test_reads_of_one_row_share_one_statement(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = Statements(monkeypatch)
    rows, own = service.waiters.rows, service.client.organization_id
    attachment_id = int((await service.client.create())["data"]["id"])
    statements.go.set()

    found = await asyncio.gather(*(rows.find(attachment_id, own) for _ in range(300)))

    assert {each.id for each in found if each is not None} == {attachment_id}
    assert None not in found
    assert statements.groups == [[attachment_id]]
