"""The parameter `wait`: the API answers when an attachment is settled.

While a request waits, it uses no database connection.
"""

import asyncio
import time

import pytest

from api.waiters import MAX_WAITERS_EACH, Waiters
from shared.states import SETTLED, State
from tests.support.proxy import Link, running_proxy
from tests.support.resources import NOT_FOUND, PATH, is_error
from tests.support.service import Answer, Client, Service, until
from tests.support.starting import StartService

LONG_S = 25


async def settle(service: Service, attachment_id: str, state: State = "ready") -> None:
    """Set the state of an attachment, as a worker's commit does."""
    await service.execute(
        "UPDATE attachments SET state = $2 WHERE id = $1", int(attachment_id), state
    )


def wait(
    client: Client, attachment_id: str, *, query: str = f"?wait={LONG_S}", **headers: str
) -> "asyncio.Task[Answer]":
    """Start a request that waits until an attachment is settled."""
    return asyncio.create_task(
        client.request("GET", f"{PATH}/{attachment_id}{query}", headers=headers)
    )


async def waiting(service: Service, count: int) -> None:
    """Wait until `count` API processes have announced in the database that their clients wait.

    By then, the API has read the attachment once for each of these clients.
    """

    async def announced() -> bool:
        found = await service.database.fetchval("SELECT count(*) FROM waiting")
        return bool(found == count)

    await until(announced)


@pytest.mark.parametrize("state", SETTLED)
async def test_the_answer_comes_with_the_commit(service: Service, state: State) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    task = wait(service.client, attachment_id)
    await waiting(service, 1)
    assert not task.done()
    began = time.monotonic()

    await settle(service, attachment_id, state)
    answer = await task

    assert answer.status == 200
    assert answer.data["meta"]["state"] == state
    assert time.monotonic() - began < LONG_S / 2
    assert "Preference-Applied" not in answer.headers
    again = await service.client.request("GET", f"{PATH}/{attachment_id}?wait={LONG_S}")
    assert again.data == answer.data


@pytest.mark.parametrize(
    ("query", "prefer", "applied"),
    [
        pytest.param("?wait=1", None, None, id="parameter"),
        pytest.param("?wait=0", None, None, id="zero"),
        pytest.param("?wait=1&include=task", None, None, id="with others"),
        pytest.param("", "wait=1", "wait=1", id="preference"),
        pytest.param("", 'respond-async, WAIT="1";foo', "wait=1", id="preference among others"),
        pytest.param("?wait=1", "wait=30", None, id="the parameter goes first"),
        pytest.param("", "wait=soon", None, id="no number is ignored"),
    ],
)
async def test_after_the_time_the_answer_is_what_there_is(
    service: Service, query: str, prefer: str | None, applied: str | None
) -> None:
    attachment_id = (await service.client.create())["data"]["id"]

    headers = {} if prefer is None else {"Prefer": prefer}
    answer = await wait(service.client, attachment_id, query=query, **headers)

    assert answer.status == 200, answer.body
    assert answer.data["meta"]["state"] == "pending"
    assert answer.headers.get("Preference-Applied") == applied


@pytest.mark.parametrize("value", ["1" + "0" * 9, "9" * 4000, "31", "0030"])
async def test_row101_more_counts_as_thirty_seconds(service: Service, value: str) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    await settle(service, attachment_id)

    answer = await wait(service.client, attachment_id, query="", Prefer=f"wait={value}")

    assert answer.headers["Preference-Applied"] == "wait=30"


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "", "%2B1", "%D9%A1", "1s"])
async def test_row101_a_bad_time_is_refused_by_its_name(service: Service, value: str) -> None:
    attachment_id = (await service.client.create())["data"]["id"]

    answer = await wait(service.client, attachment_id, query=f"?wait={value}")

    assert answer.status == 400
    assert answer.document["errors"][0]["source"] == {"parameter": "wait"}
    listed = await service.client.request("GET", f"{PATH}?wait=1")
    assert listed.status == 400


async def test_row101_anothers_attachment_is_missing_at_once(service: Service) -> None:
    other = await service.organization()
    attachment_id = (await other.create())["data"]["id"]

    assert is_error(await wait(service.client, attachment_id), NOT_FOUND)


async def test_an_attachment_deleted_meanwhile_is_missing(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    task = wait(service.client, attachment_id)
    await waiting(service, 1)

    await service.client.request("DELETE", f"{PATH}/{attachment_id}")

    assert is_error(await task, NOT_FOUND)


async def test_many_wait_without_a_connection_of_the_pool(start_service: StartService) -> None:
    service = await start_service(database_pool="2")
    ids = [(await service.client.create())["data"]["id"] for _ in range(40)]
    tasks = [wait(service.client, each) for each in ids]
    await waiting(service, 1)
    other = await service.organization()
    assert (await other.create())["data"]["id"]

    await service.execute("UPDATE attachments SET state = 'ready' WHERE id = ANY($1)", ids_of(ids))

    answers = await asyncio.gather(*tasks)
    assert [each.data["id"] for each in answers] == ids
    assert {each.data["meta"]["state"] for each in answers} == {"ready"}


def ids_of(texts: list[str]) -> list[int]:
    """Convert ids from text to numbers."""
    return [int(each) for each in texts]


def is_a_notification(_link: Link, data: bytes) -> bool:
    """Return True if the bytes are PostgreSQL's NotificationResponse."""
    return data.startswith(b"A")


async def test_waiting_clients_are_answered_although_no_notification_arrives(
    start_service: StartService, database_url: str
) -> None:
    async with running_proxy(database_url) as proxy:
        service = await start_service(database_url=proxy.url)
        attachment_id = (await service.client.create())["data"]["id"]
        task = wait(service.client, attachment_id)
        await waiting(service, 1)
        proxy.lose(is_a_notification)

        await settle(service, attachment_id)

        assert (await task).data["meta"]["state"] == "ready"
        proxy.let_go()


async def test_a_stopping_process_answers_all_at_once(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    tasks = [wait(service.client, attachment_id) for _ in range(3)]
    await waiting(service, 1)

    service.waiters.end()

    for answer in await asyncio.gather(*tasks):
        assert answer.data["meta"]["state"] == "pending"
    later = await wait(service.client, attachment_id)
    assert later.status == 200


async def test_row102_a_client_that_leaves_frees_its_place(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    tasks = [wait(service.client, attachment_id) for _ in range(3)]

    async def counted(count: int) -> bool:
        return service.waiters.count == count

    await until(lambda: counted(3))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    await until(lambda: counted(0))


async def test_row102_one_organization_cannot_take_all_places(
    service: Service,
) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    waiters: Waiters = service.waiters
    held = [
        asyncio.create_task(
            waiters.wait(
                int(attachment_id),
                service.client.organization_id,
                within_s=LONG_S,
                note_leave=lambda _: None,
            )
        )
        for _ in range(MAX_WAITERS_EACH)
    ]
    await asyncio.sleep(0)

    answer = await wait(service.client, attachment_id)

    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    other = await service.organization()
    others = (await other.create())["data"]["id"]
    assert (await wait(other, others, query="?wait=1")).status == 200
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert (await wait(service.client, attachment_id, query="?wait=1")).status == 200
