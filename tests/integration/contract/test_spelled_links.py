"""Tests of the contract: the ways to name an attachable, the object that has the attachment.

A body may have `task_id`, `relationships`, or both.
"""

from typing import Any

import pytest

from tests.support.resources import PATH
from tests.support.service import Client, Service

TASK = {"data": {"type": "tasks", "id": "5"}}


def document(
    attributes: dict[str, Any], relationships: Any = None, attachment_id: str | None = None
) -> dict[str, Any]:
    """Return the document of a request with these attributes and relationships."""
    data: dict[str, Any] = {"type": "attachments", "attributes": attributes}
    if relationships is not None:
        data["relationships"] = relationships
    if attachment_id is not None:
        data["id"] = attachment_id
    return {"data": data}


async def link_of(service: Service, attachment_id: str) -> tuple[str | None, int | None]:
    """Return the type and the id of an attachment's attachable."""
    row = await service.row(attachment_id)
    return row.attachable_type, row.attachable_id


@pytest.mark.parametrize(
    ("attributes", "relationships"),
    [
        pytest.param({"task_id": 5}, None, id="attribute"),
        pytest.param({"task_id": "5"}, None, id="attribute, a string"),
        pytest.param({}, {"task": TASK}, id="relationship"),
        pytest.param({}, {"task": {"data": {"type": "tasks", "id": 5}}}, id="id, a number"),
        pytest.param({"task_id": 5}, {"task": TASK}, id="both"),
        pytest.param({"attachable_type": "task", "task_id": 5}, None, id="with the type"),
        pytest.param({"attachable_id": 5, "task_id": "5"}, None, id="with the id"),
        pytest.param({"task_id": 5, "deal_id": None, "bill_id": ""}, None, id="with nulls"),
        pytest.param(
            {"task_id": 5},
            {
                "comment": {"data": None},
                "deal": {"meta": {"included": False}},
                "creator": {"data": {"type": "people", "id": "1"}},
                "organization": {"data": {"type": "organizations", "id": "1"}},
                "booking": {"data": {"type": "bookings", "id": "1"}},
            },
            id="with relationships that state nothing",
        ),
    ],
)
async def test_a_link_may_be_spelled_in_several_ways(
    running: Service, attributes: dict[str, Any], relationships: Any
) -> None:
    client = await running.organization()

    made = await client.request("POST", PATH, document({"name": "a", **attributes}, relationships))
    assert made.status == 201, made.body
    assert await link_of(running, made.data["id"]) == ("task", 5)

    other = (await client.create(attachable_type="comment", attachable_id=3))["data"]["id"]
    changed = await client.request(
        "PATCH", f"{PATH}/{other}", document(attributes, relationships, other)
    )
    assert changed.status == 200, changed.body
    assert await link_of(running, other) == ("task", 5)


@pytest.mark.parametrize(
    ("attributes", "relationships", "link"),
    [
        pytest.param({"task_id": None}, None, (None, None), id="no task any more"),
        pytest.param({}, {"task": {"data": None}}, (None, None), id="no relationship any more"),
        pytest.param({"comment_id": None}, None, ("task", 5), id="a null that was shown"),
        pytest.param(
            {"attachable_type": "task", "attachable_id": 5, "comment_id": 3},
            {"task": TASK},
            ("comment", 3),
            id="what was shown states nothing",
        ),
        pytest.param(
            {"attachable_type": "comment", "attachable_id": 3},
            {"task": TASK},
            ("comment", 3),
            id="a relationship that was shown",
        ),
        pytest.param(
            {"task_id": None, "comment_id": 3}, None, ("comment", 3), id="from one to another"
        ),
        pytest.param(
            {"attachable_type": "comment", "attachable_id": 3},
            {"task": {"data": None}},
            ("comment", 3),
            id="from a relationship to an attribute",
        ),
    ],
)
async def test_only_a_link_that_changes_counts(
    running: Service, attributes: dict[str, Any], relationships: Any, link: tuple[Any, Any]
) -> None:
    client = await running.organization()
    made = (await client.create(attachable_type="task", attachable_id=5))["data"]["id"]

    answer = await client.request(
        "PATCH", f"{PATH}/{made}", document(attributes, relationships, made)
    )

    assert answer.status == 200, answer.body
    assert await link_of(running, made) == link


async def test_a_shown_resource_with_its_relationships_may_be_sent_back(running: Service) -> None:
    client = await running.organization()
    made = (await client.create(attachable_type="task", attachable_id=5))["data"]["id"]
    query = "?include=task,comment,creator"
    shown = (await client.request("GET", f"{PATH}/{made}{query}")).data

    answer = await client.request("PATCH", f"{PATH}/{made}{query}", {"data": shown})

    assert (answer.status, answer.data) == (200, shown)


@pytest.mark.parametrize(
    ("attributes", "relationships", "pointer"),
    [
        pytest.param({"task_id": 5, "comment_id": 6}, None, "attributes/task_id", id="types"),
        pytest.param({"task_id": 6}, {"task": TASK}, "relationships/task", id="ids"),
        pytest.param(
            {"attachable_type": "comment", "task_id": 5}, None, "attributes/task_id", id="type"
        ),
        pytest.param(
            {"attachable_type": "task", "attachable_id": 6},
            {"task": TASK},
            "relationships/task",
            id="id",
        ),
    ],
)
async def test_links_that_disagree_are_refused(
    running: Service, attributes: dict[str, Any], relationships: Any, pointer: str
) -> None:
    client = await running.organization()
    made = (await client.create())["data"]["id"]

    for method, path, identity in (("POST", PATH, None), ("PATCH", f"{PATH}/{made}", made)):
        answer = await client.request(
            method, path, document({"name": "a", **attributes}, relationships, identity)
        )

        assert answer.status == 422, answer.body
        (error,) = answer.document["errors"]
        assert error["detail"].startswith("contradicts data/")
        assert error["source"]["pointer"] == f"data/{pointer}"
    assert await link_of(running, made) == (None, None)


@pytest.mark.parametrize(
    ("attributes", "relationships", "pointer", "detail"),
    [
        ({"task_id": "x"}, None, "attributes/task_id", "is not a number"),
        ({"task_id": 1.5}, None, "attributes/task_id", "must be an integer"),
        ({"task_id": 0}, None, "attributes/task_id", "must be greater than or equal to 1"),
        ({}, {"task": {"data": []}}, "relationships/task", "is invalid"),
        ({}, {"task": {"data": {"type": "deals", "id": "5"}}}, "relationships/task", "is invalid"),
        ({}, {"task": {"data": {"type": "tasks"}}}, "relationships/task", "is invalid"),
        ({}, {"task": {"data": {"type": "tasks", "id": "0"}}}, "relationships/task", "is invalid"),
    ],
)
async def test_a_link_that_cannot_be_read_is_refused(
    client: Client, attributes: dict[str, Any], relationships: Any, pointer: str, detail: str
) -> None:
    answer = await client.request(
        "POST", PATH, document({"name": "a", **attributes}, relationships)
    )

    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert (error["source"]["pointer"], error["detail"]) == (f"data/{pointer}", detail)


async def test_relationships_that_are_no_object_are_refused(client: Client) -> None:
    answer = await client.request("POST", PATH, document({"name": "a"}, []))

    assert answer.status == 400
