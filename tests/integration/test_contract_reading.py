"""The contract, read side: the object, lists, filters, paging, include, fieldsets."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.support.resources import (
    NOT_FOUND,
    NOT_INCLUDED,
    PATH,
    RELATIONSHIPS,
    body,
    problem,
    resource,
    time,
    written,
)
from tests.support.service import MEDIA_TYPE, Answer, Client, Service
from tests.support.starting import StartService

CURSOR_META = {"page_size": 10, "max_page_size": 200}


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller of an organization that has nothing yet."""
    return await running.organization()


async def create_many(client: Client, attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Create attachments in one request and return their ids."""
    bulk = f"{MEDIA_TYPE}; ext=bulk"
    answer = await client.request(
        "POST",
        PATH,
        {"data": [body(item)["data"] for item in attributes]},
        headers={"Content-Type": bulk, "Accept": bulk},
    )
    assert answer.status == 201, answer.body
    return [item["id"] for item in answer.data]


async def create_numbered(client: Client, number: int) -> list[str]:
    """Create so many attachments and return their ids."""
    return await create_many(client, [{"name": f"{n}.txt"} for n in range(number)])


def names(answer: Answer) -> list[str]:
    """Give the names of a list's attachments."""
    assert answer.status == 200, answer.body
    return [item["attributes"]["name"] for item in answer.data]


def ids(answer: Answer) -> list[str]:
    """Give the ids of a list's attachments."""
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.data]


async def get(client: Client, query: str) -> Answer:
    """List with a query, written readably: brackets are percent-encoded."""
    return await client.request("GET", f"{PATH}?{query}".replace("[", "%5B").replace("]", "%5D"))


# the object


async def organization_14(service: Service) -> Client:
    """Make the organization of the contract's sample."""
    async with service.database.acquire() as connection:
        await create_organization(connection, "the sample's", 14)
        token = await create_token(connection, 14, "test")
    return Client(
        session=service.client.session,
        base_url=service.base_url,
        organization_id=14,
        token=token,
    )


INSERT_SAMPLE = """
    INSERT INTO attachments (
        id, organization_id, bucket, name, file_name, attachable_type, attachable_id,
        content_type, size, state, resized, thumbnail_name,
        created_at, policy_expires_at, uploaded_at
    ) VALUES (
        $1, 14, 'attachments-test', 'img.png', 'img.png', 'comment', 3,
        'image/png', 3479, 'ready', $2, 'img.png',
        '2026-04-17T06:02:48.589+02:00', '2026-04-17T07:02:48+02:00', to_timestamp(1776398568.9)
    )
"""


def sample(attachment_id: int, *, resized: bool) -> dict[str, Any]:
    """Write the contract's sample of the object.

    The sample has a thumbnail and `resized` false at once; the rule beside it ("`thumb`: null
    until there is one") and invariant 3 of architecture.md let either both be there or neither.
    """
    base = f"https://files-test.example/attachments/files/000/000/{attachment_id:03}"
    return resource(
        str(attachment_id),
        14,
        attributes={
            "name": "img.png",
            "content_type": "image/png",
            "size": 3479,
            "url": f"{base}/original/img.png?1776398568",
            "thumb": f"{base}/thumb/img.png?1776398568" if resized else None,
            "temp_url": f"{base}/original/img.png?1776398568",
            "resized": resized,
            "created_at": "2026-04-17T06:02:48.589+02:00",
            "attachable_type": "comment",
        },
        meta={"state": "ready"},
    )


SAMPLES_SETTINGS = {
    "files_public": "true",
    "files_url": "https://files-test.example",
    "time_zone": "Europe/Berlin",
    "api_url": "http://host",
}


@pytest.mark.parametrize("resized", [False, True])
async def test_show_answers_the_contracts_sample(
    start_service: StartService, resized: bool
) -> None:
    service = await start_service(**SAMPLES_SETTINGS)
    client = await organization_14(service)
    await service.execute(INSERT_SAMPLE, 2, resized)

    answer = await client.request("GET", f"{PATH}/2")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written({"data": sample(2, resized=resized), "meta": {}})


async def test_list_answers_the_contracts_sample(start_service: StartService) -> None:
    service = await start_service(**SAMPLES_SETTINGS)
    client = await organization_14(service)
    await service.execute(INSERT_SAMPLE, 1, True)

    answer = await client.request("GET", f"{PATH}?filter[comment_id]=3")

    page = (
        "http://host/api/v2/attachments"
        "?filter%5Bcomment_id%5D=3&page%5Bnumber%5D=1&page%5Bsize%5D=30"
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written(
        {
            "data": [sample(1, resized=True)],
            "links": {"first": page, "last": page},
            "meta": {
                "current_page": 1,
                "total_pages": 1,
                "total_count": 1,
                "page_size": 30,
                "max_page_size": 200,
            },
        }
    )


async def test_show_answers_a_new_attachment_member_for_member(
    running: Service, client: Client
) -> None:
    created = await client.create("img.png", attachable_type="comment", attachable_id=5)
    attachment_id = created["data"]["id"]
    row = await running.row(attachment_id)

    answer = await client.request("GET", f"{PATH}/{attachment_id}")

    assert answer.status == 200
    expected = resource(
        attachment_id,
        client.organization_id,
        attributes={
            "name": "img.png",
            "url": f"{client.base_url}/{row.key}",
            "created_at": time(row.created_at),
            "attachable_type": "comment",
        },
    )
    assert written(answer.document) == written({"data": expected, "meta": {}})


# lists


@pytest.mark.parametrize(
    ("query", "shown", "current", "size", "pages", "prev", "following"),
    [
        pytest.param("", range(25), 1, 30, 1, None, None, id="default: 30"),
        pytest.param("page[size]=10", range(10), 1, 10, 3, None, 2, id="the first page"),
        pytest.param(
            "page[number]=2&page[size]=10", range(10, 20), 2, 10, 3, 1, 3, id="one between"
        ),
        pytest.param(
            "page[size]=10&page[number]=3", range(20, 25), 3, 10, 3, 2, None, id="the last page"
        ),
        pytest.param(
            "page[number]=4&page[size]=10", range(0), 4, 10, 3, 3, None, id="one beyond the last"
        ),
        pytest.param(
            "page[number]=9&page[size]=10", range(0), 9, 10, 3, None, None, id="far beyond the last"
        ),
        pytest.param("page[size]=25", range(25), 1, 25, 1, None, None, id="just one page"),
        pytest.param("page[size]=200", range(25), 1, 200, 1, None, None, id="the largest page"),
        pytest.param("page[size]=201", range(25), 1, 200, 1, None, None, id="no larger page"),
    ],
)
async def test_a_page_has_its_links_and_meta(
    client: Client,
    query: str,
    shown: range,
    current: int,
    size: int,
    pages: int,
    prev: int | None,
    following: int | None,
) -> None:
    created = await create_numbered(client, 25)

    answer = await get(client, query)

    def page(number: int) -> str:
        return f"{client.base_url}{PATH}?page%5Bnumber%5D={number}&page%5Bsize%5D={size}"

    links = {"first": page(1), "last": page(pages)}
    if prev is not None:
        links["prev"] = page(prev)
    if following is not None:
        links["next"] = page(following)
    assert ids(answer) == [created[place] for place in shown]
    assert list(answer.document) == ["data", "links", "meta"]
    assert answer.document["links"] == links
    assert written(answer.document["meta"]) == written(
        {
            "current_page": current,
            "total_pages": pages,
            "total_count": 25,
            "page_size": size,
            "max_page_size": 200,
        }
    )


async def test_an_organization_without_attachments_has_one_empty_page(client: Client) -> None:
    answer = await get(client, "")

    page = f"{client.base_url}{PATH}?page%5Bnumber%5D=1&page%5Bsize%5D=30"
    assert answer.document == {
        "data": [],
        "links": {"first": page, "last": page},
        "meta": {
            "current_page": 1,
            "total_pages": 1,
            "total_count": 0,
            "page_size": 30,
            "max_page_size": 200,
        },
    }


async def test_links_lead_on_with_everything_that_was_asked_for(client: Client) -> None:
    await create_many(
        client,
        [{"name": f"{n}", "attachable_type": "task", "attachable_id": 7} for n in range(3)],
    )
    answer = await get(
        client,
        "filter[task_id]=7,8&sort=-id&include=task&fields[attachments]=name,task&page[size]=2",
    )

    following = urlsplit(answer.document["links"]["next"])
    assert following.query == (
        "filter%5Btask_id%5D=7%2C8&sort=-id&include=task&fields%5Battachments%5D=name%2Ctask"
        "&page%5Bnumber%5D=2&page%5Bsize%5D=2"
    )
    answer = await client.request("GET", f"{following.path}?{following.query}")
    assert [item["attributes"] for item in answer.data] == [{"name": "0"}]
    assert answer.data[0]["relationships"] == {"task": {"data": {"type": "tasks", "id": "7"}}}


# filters

ATTACHED: list[dict[str, Any]] = [
    {"name": "comment 1", "attachable_type": "comment", "attachable_id": 1},
    {"name": "comment 2", "attachable_type": "comment", "attachable_id": 2},
    {"name": "comment 3", "attachable_type": "comment", "attachable_id": 3},
    {"name": "page 1", "attachable_type": "page", "attachable_id": 1},
    {"name": "task 1", "attachable_type": "task", "attachable_id": 1},
    {"name": "task 2", "attachable_type": "task", "attachable_id": 2},
    {"name": "task", "attachable_type": "task"},
    {"name": "nothing"},
]
ALL = [item["name"] for item in ATTACHED]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("", ALL, id="none"),
        pytest.param("filter[comment_id]=3", ["comment 3"], id="comment"),
        pytest.param("filter[page_id]=1", ["page 1"], id="page"),
        pytest.param("filter[task_id]=2", ["task 2"], id="task"),
        pytest.param("filter[task_id]=9", [], id="of nothing"),
        pytest.param("filter[comment_id]=1,3", ["comment 1", "comment 3"], id="array"),
        pytest.param(
            "filter[comment_id][]=1&filter[comment_id][]=3",
            ["comment 1", "comment 3"],
            id="array, repeated",
        ),
        pytest.param(
            "filter[comment_id][]=1,2&filter[comment_id][]=3",
            ["comment 1", "comment 2", "comment 3"],
            id="array of arrays",
        ),
        pytest.param(
            "filter[comment_id][eq][]=1&filter[comment_id][eq][]=3",
            ["comment 1", "comment 3"],
            id="array of an operator",
        ),
        pytest.param(
            "filter[comment_id][0]=1&filter[comment_id][1]=3",
            ["comment 1", "comment 3"],
            id="array with indices",
        ),
        pytest.param(
            "filter[comment_id]=1&filter[comment_id]=3", ["comment 3"], id="twice: the last"
        ),
        pytest.param("filter[comment_id][eq]=2", ["comment 2"], id="eq"),
        pytest.param("filter[comment_id][eq]=2,3", ["comment 2", "comment 3"], id="eq, array"),
        pytest.param(
            "filter[comment_id][not_eq]=2",
            [name for name in ALL if name != "comment 2"],
            id="not_eq, also of what belongs to something else",
        ),
        pytest.param(
            "filter[task_id][not_eq]=1,2",
            [name for name in ALL if name not in ("task 1", "task 2")],
            id="not_eq, array, also of what has no id",
        ),
        pytest.param(
            "filter[comment_id]=1,2&filter[comment_id][not_eq]=2", ["comment 1"], id="eq and not_eq"
        ),
        pytest.param("filter[comment_id]=1&filter[task_id]=1", [], id="two filters hold at once"),
    ],
)
async def test_a_filter_finds(client: Client, query: str, found: list[str]) -> None:
    await create_many(client, ATTACHED)

    answer = await get(client, query)

    assert names(answer) == found
    assert answer.document["meta"]["total_count"] == len(found)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        pytest.param("filter[name]=a", "name", id="an attribute"),
        pytest.param("filter[deal_id]=1", "deal_id", id="another relationship"),
        pytest.param("filter[comment_id][gt]=1", "comment_id[gt]", id="another operator"),
        pytest.param("filter[x]=", "x", id="no value"),
    ],
)
async def test_a_filter_that_is_not_listed_is_refused(
    client: Client, query: str, name: str
) -> None:
    answer = await get(client, query)

    assert answer.status == 400
    assert answer.document == problem(
        400, "Unsupported Filter", f"Filter '{name}' is not supported on this endpoint"
    )


@pytest.mark.parametrize("value", ["", "x", "1,", "01", "-1", "1.0", "9223372036854775808"])
async def test_a_filters_value_that_is_no_id_is_refused(client: Client, value: str) -> None:
    answer = await get(client, f"filter[task_id]={value}")

    assert answer.status == 400
    assert [error["title"] for error in answer.document["errors"]] == ["Bad Request"]


# sorting


@pytest.mark.parametrize(
    ("query", "backwards"),
    [
        pytest.param("", False, id="default"),
        pytest.param("sort=id", False, id="id"),
        pytest.param("sort=-id", True, id="-id"),
    ],
)
async def test_attachments_are_sorted_by_id(client: Client, query: str, backwards: bool) -> None:
    created = await create_numbered(client, 12)

    assert ids(await get(client, query)) == (created[::-1] if backwards else created)


@pytest.mark.parametrize("sort", ["name", "-created_at", "id,name", "+id", ""])
async def test_any_other_sort_is_refused(client: Client, sort: str) -> None:
    answer = await get(client, f"sort={sort.replace('+', '%2B')}")

    assert answer.status == 400
    assert answer.document == problem(
        400, "Unsupported Sort", f"Sort by '{sort}' is not supported on this endpoint"
    )


# include

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


# sparse fieldsets


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


# cursors

CURSOR_TYPE = (
    'application/vnd.api+json; profile="http://jsonapi.org/profiles/ethanresnick/'
    'cursor-pagination/"; charset=utf-8'
)


def link(client: Client, cursor: str, size: int) -> str:
    """Write the link to a page by cursor."""
    return f"{client.base_url}{PATH}?{cursor}&page%5Bsize%5D={size}"


async def walk(client: Client, path: str | None, direction: str) -> list[list[str]]:
    """Follow the links from page to page and return the ids of each."""
    pages = []
    while path is not None:
        answer = await client.request("GET", path)
        pages.append(ids(answer))
        assert list(answer.document) == ["data", "links", "meta"]
        assert list(answer.document["links"]) == ["first", "prev", "next"]
        assert answer.headers["Content-Type"] == CURSOR_TYPE
        assert answer.document["meta"] == CURSOR_META
        link = answer.document["links"][direction]
        assert link is None or link.startswith(f"{client.base_url}{PATH}?")
        path = None if link is None else link.removeprefix(client.base_url)
        assert len(pages) < 10
    return pages


@pytest.mark.parametrize("sort", ["id", "-id"])
async def test_cursors_walk_through_everything_and_back(client: Client, sort: str) -> None:
    created = await create_numbered(client, 25)
    created = created if sort == "id" else created[::-1]
    start = f"{PATH}?sort={sort}&page%5Bafter%5D=&page%5Bsize%5D=10"

    forwards = await walk(client, start, "next")
    assert forwards == [created[:10], created[10:20], created[20:]]

    # from the last page back: what stands before its first row, and so on
    second = (await client.request("GET", start)).document["links"]["next"]
    third = (await client.request("GET", second.removeprefix(client.base_url))).document["links"]
    last = await client.request("GET", third["next"].removeprefix(client.base_url))
    backwards = await walk(
        client, last.document["links"]["prev"].removeprefix(client.base_url), "prev"
    )
    assert backwards == [created[10:20], created[:10]]

    # and a page that was come to backwards leads on to what was left
    previous = last.document["links"]["prev"].removeprefix(client.base_url)
    between = await client.request("GET", previous)
    first = between.document["links"]["prev"].removeprefix(client.base_url)
    assert await walk(client, first, "next") == forwards


async def test_the_first_page_of_a_walk_has_none_before_and_the_last_none_after(
    client: Client,
) -> None:
    await create_numbered(client, 3)

    only = await get(client, "page[after]=&page[size]=10")

    first = link(client, "page%5Bafter%5D=", 10)
    assert only.document["links"] == {"first": first, "prev": None, "next": None}
    assert only.document["meta"] == CURSOR_META


async def test_a_page_that_is_just_full_has_none_after(client: Client) -> None:
    await create_numbered(client, 10)

    full = await get(client, "page[after]=&page[size]=10")

    assert len(full.data) == 10
    first = link(client, "page%5Bafter%5D=", 10)
    assert full.document["links"] == {"first": first, "prev": None, "next": None}


@pytest.mark.parametrize("sort", ["id", "-id"])
async def test_an_empty_page_before_is_the_last_page(client: Client, sort: str) -> None:
    created = await create_numbered(client, 25)
    created = created if sort == "id" else created[::-1]

    start = f"{PATH}?sort={sort}&page%5Bbefore%5D=&page%5Bsize%5D=10"

    assert await walk(client, start, "prev") == [created[15:], created[5:15], created[:5]]
    assert (await client.request("GET", start)).document["links"]["next"] is None


async def test_pages_beyond_the_ends_lead_back(client: Client) -> None:
    created = await create_numbered(client, 3)
    ends = [urlsafe_b64encode(each.encode()).decode().rstrip("=") for each in created]

    after = await get(client, f"page[after]={ends[2]}&page[size]=2")
    before = await get(client, f"page[before]={ends[0]}&page[size]=2")

    first, last = link(client, "page%5Bafter%5D=", 2), link(client, "page%5Bbefore%5D=", 2)
    assert (after.data, before.data) == ([], [])
    assert after.document["links"] == {"first": first, "prev": last, "next": None}
    assert before.document["links"] == {"first": first, "prev": None, "next": first}
    back = await client.request("GET", last.removeprefix(client.base_url))
    assert ids(back) == created[1:]
    nothing = await get(client, "filter[task_id]=9&page[before]=&page[size]=2")
    assert nothing.document["links"]["prev"] is None
    assert nothing.document["links"]["next"] is None


async def test_a_size_above_the_maximum_is_refused_by_cursor_and_capped_by_number(
    client: Client,
) -> None:
    refused = await get(client, "page[after]=&page[size]=201")

    assert refused.status == 400
    assert refused.document["errors"] == [
        {
            "status": "400",
            "title": "Bad Request",
            "detail": "Parameter 'page[size]' must be at most 200",
            "source": {"parameter": "page[size]"},
            "links": {
                "type": "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
                "max-size-exceeded"
            },
            "meta": {"page": {"maxSize": 200}},
        }
    ]
    capped = await get(client, "page[size]=201")
    assert capped.status == 200
    assert capped.document["meta"]["page_size"] == 200


@pytest.mark.parametrize("sort", ["id", "-id"])
async def test_a_walk_shows_what_stays_once_while_others_come_and_go(
    client: Client, sort: str
) -> None:
    created = await create_numbered(client, 25)
    order = created if sort == "id" else created[::-1]
    path = f"{PATH}?sort={sort}&page%5Bafter%5D=&page%5Bsize%5D=10"
    first = await client.request("GET", path)
    assert ids(first) == order[:10]

    for gone in (*order[:3], order[9], order[10], order[24]):
        answer = await client.request("DELETE", f"{PATH}/{gone}")
        assert answer.status == 204
    come = await create_numbered(client, 5)

    following = first.document["links"]["next"].removeprefix(client.base_url)
    rest = [each for page in await walk(client, following, "next") for each in page]
    assert rest == order[11:24] + (come if sort == "id" else [])


async def test_a_walk_keeps_its_filter(client: Client) -> None:
    tasks = [
        {"name": f"{n}", "attachable_type": "task", "attachable_id": n % 2 + 1} for n in range(25)
    ]
    created = await create_many(client, tasks)

    pages = await walk(
        client, f"{PATH}?filter%5Btask_id%5D=2&page%5Bafter%5D=&page%5Bsize%5D=10", "next"
    )

    assert pages == [created[1:21:2], created[21::2]]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("page[after]=x", id="no cursor"),
        pytest.param("page[before]=MA", id="the cursor of 0"),
        pytest.param("page[after]=MDE", id="the cursor of 01"),
        pytest.param("page[after]=MQ==", id="padded"),
        pytest.param("page[after]=MQ&page[before]=Mg", id="both"),
        pytest.param("page[after]=MQ&page[number]=2", id="with a number"),
        pytest.param("page[after]=MQ&page[size]=0", id="a page of nothing"),
    ],
)
async def test_a_cursor_that_is_none_is_refused(client: Client, query: str) -> None:
    answer = await get(client, query)

    assert answer.status == 400
    assert [error["title"] for error in answer.document["errors"]] == ["Bad Request"]


# who sees what


async def test_deleted_attachments_never_appear(client: Client) -> None:
    created = await create_numbered(client, 3)
    await client.request("DELETE", f"{PATH}/{created[1]}")

    by_number = await get(client, "")
    by_cursor = await get(client, "page[after]=")
    filtered = await get(client, "filter[task_id][not_eq]=1")

    for answer in (by_number, by_cursor, filtered):
        assert ids(answer) == [created[0], created[2]]
    assert by_number.document["meta"]["total_count"] == 2


async def test_another_organizations_attachments_never_appear(
    running: Service, client: Client
) -> None:
    created = await create_numbered(client, 2)
    other = await running.organization()
    theirs = await create_numbered(other, 2)

    assert ids(await get(client, "")) == created
    assert ids(await get(client, "page[after]=")) == created
    assert ids(await get(other, "filter[task_id][not_eq]=1")) == theirs


@pytest.mark.parametrize(
    "attachment_id",
    [
        pytest.param("01", id="a leading zero"),
        pytest.param("+1", id="a sign"),
        pytest.param("%2B1", id="a sign, encoded"),
        pytest.param("-1", id="negative"),
        pytest.param("0", id="zero"),
        pytest.param("1.0", id="a fraction"),
        pytest.param("1e3", id="an exponent"),
        pytest.param("%D9%A3", id="a digit of another script"),
        pytest.param("9223372036854775807", id="the largest, of nothing"),
        pytest.param("9223372036854775808", id="2^63"),
        pytest.param("99999999999999999999999", id="far beyond"),
        pytest.param("x", id="a letter"),
        pytest.param("1%00", id="NUL"),
        pytest.param("%20", id="a space"),
    ],
)
async def test_what_is_no_id_of_ours_is_not_found(client: Client, attachment_id: str) -> None:
    for method, document in (("GET", None), ("DELETE", None), ("PATCH", body({"name": "a"}))):
        answer = await client.request(method, f"{PATH}/{attachment_id}", document)

        assert answer.status == 404
        assert written(answer.document) == written(NOT_FOUND)
