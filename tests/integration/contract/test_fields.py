"""Tests of the contract: included relationships and sparse fieldsets."""

import pytest

from tests.support.listing import ATTACHED, create_many, create_numbered, get, ids
from tests.support.resources import NOT_INCLUDED, PATH, RELATIONSHIPS, problem, written
from tests.support.service import Client, Service

ATTACHABLE = [name for name in RELATIONSHIPS if name != "creator"]


@pytest.mark.parametrize("name", ATTACHABLE)
async def test_the_relationship_to_the_attachable_is_included(client: Client, name: str) -> None:
    created = await client.create(attachable_type=name, attachable_id=5)
    attachment_id = created["data"]["id"]
    plain = await client.show(attachment_id)
    assert plain["relationships"][name] == NOT_INCLUDED

    answer = await client.request("GET", f"{PATH}/{attachment_id}?include={name}")

    named = {name: {"data": {"type": RELATIONSHIPS[name], "id": "5"}}}
    expected = {**plain, "relationships": {**plain["relationships"], **named}}
    assert written(answer.document) == written({"data": expected, "meta": {}, "included": []})


async def test_every_relationship_can_be_included_at_once(running: Service, client: Client) -> None:
    created = await client.create(attachable_type="task", attachable_id=5)
    attachment_id = created["data"]["id"]
    await running.execute(
        "UPDATE attachments SET creator_id = 77 WHERE id = $1", int(attachment_id)
    )
    include = ",".join(["organization", *RELATIONSHIPS])

    answer = await client.request("GET", f"{PATH}/{attachment_id}?include={include}")

    assert written(answer.data["relationships"]) == written(
        {
            "organization": {"data": {"type": "organizations", "id": str(client.organization_id)}},
            **{name: {"data": None} for name in RELATIONSHIPS},
            "creator": {"data": {"type": "people", "id": "77"}},
            "task": {"data": {"type": "tasks", "id": "5"}},
        }
    )
    assert answer.document["included"] == []


async def test_a_list_includes_in_each_of_its_attachments(client: Client) -> None:
    await create_many(client, ATTACHED[2:6])

    answer = await get(client, "include=comment,page")

    assert answer.document["included"] == []
    assert [
        {name: item["relationships"][name] for name in ("comment", "page", "task")}
        for item in answer.data
    ] == [
        {
            "comment": {"data": {"type": "comments", "id": "3"}},
            "page": {"data": None},
            "task": NOT_INCLUDED,
        },
        {
            "comment": {"data": None},
            "page": {"data": {"type": "pages", "id": "1"}},
            "task": NOT_INCLUDED,
        },
        {"comment": {"data": None}, "page": {"data": None}, "task": NOT_INCLUDED},
        {"comment": {"data": None}, "page": {"data": None}, "task": NOT_INCLUDED},
    ]


@pytest.mark.parametrize(
    ("include", "name"),
    [
        pytest.param("tasks", "tasks", id="a type"),
        pytest.param("booking", "booking", id="an attachable without relationship"),
        pytest.param("task,attachments", "attachments", id="one of two"),
        pytest.param("task.project", "task.project", id="a path"),
    ],
)
@pytest.mark.parametrize("route", ["list", "show"])
async def test_an_unknown_include_is_refused(
    client: Client, route: str, include: str, name: str
) -> None:
    created = await client.create()
    path = PATH if route == "list" else f"{PATH}/{created['data']['id']}"

    answer = await client.request("GET", f"{path}?include={include}")

    assert answer.status == 400
    assert answer.document == problem(
        400, "Unsupported Include", f"Include '{name}' is not supported on this endpoint"
    )


@pytest.mark.parametrize(
    ("fields", "attributes", "relationships"),
    [
        pytest.param("name,size", ["name", "size"], None, id="the contract's"),
        pytest.param("size,name", ["name", "size"], None, id="in another order"),
        pytest.param("name,no_such_field", ["name"], None, id="an unknown name"),
        pytest.param("name,organization,task", ["name"], ["organization", "task"], id="both"),
        pytest.param("", [], None, id="nothing"),
    ],
)
@pytest.mark.parametrize("route", ["list", "show"])
async def test_a_sparse_fieldset_keeps_those_fields_alone(
    client: Client,
    route: str,
    fields: str,
    attributes: list[str],
    relationships: list[str] | None,
) -> None:
    created = await client.create("img.png")
    plain = await client.show(created["data"]["id"])
    path = PATH if route == "list" else f"{PATH}/{plain['id']}"

    answer = await client.request("GET", f"{path}?fields[attachments]={fields}")

    expected = {
        "id": plain["id"],
        "type": "attachments",
        "attributes": {name: plain["attributes"][name] for name in attributes},
        "relationships": {name: plain["relationships"][name] for name in relationships or []},
        "meta": plain["meta"],
    }
    if relationships is None:
        del expected["relationships"]
    data = answer.data[0] if route == "list" else answer.data
    assert written(data) == written(expected)


async def test_a_fieldset_of_another_type_changes_nothing(client: Client) -> None:
    created = await client.create()
    plain = await client.show(created["data"]["id"])

    answer = await client.request("GET", f"{PATH}/{plain['id']}?fields[people]=name")

    assert answer.data == plain


async def test_parameters_may_be_sent_again_with_a_link(client: Client) -> None:
    created = await create_numbered(client, 7)
    own = "page%5Bsize%5D=3&sort=-id"
    for start in ("page%5Bnumber%5D=1", "page%5Bafter%5D="):
        found: list[str] = []
        path = f"{PATH}?{start}&{own}"
        while path:
            answer = await client.request("GET", path)
            assert answer.status == 200, answer.body
            found += ids(answer)
            following = answer.document["links"].get("next")
            path = following and f"{following.removeprefix(client.base_url)}&{own}"
        assert found == created[::-1]
