"""Tests of the contract: reading a whole list page by page with cursors."""

from base64 import urlsafe_b64encode

import pytest

from tests.support.listing import create_many, create_numbered, get, ids
from tests.support.resources import PATH
from tests.support.service import Client

CURSOR_META = {"page_size": 10, "max_page_size": 200}

CURSOR_TYPE = (
    'application/vnd.api+json; profile="http://jsonapi.org/profiles/ethanresnick/'
    'cursor-pagination/"; charset=utf-8'
)


def link(client: Client, cursor: str, size: int) -> str:
    """Return the link to the page that a cursor names."""
    return f"{client.base_url}{PATH}?{cursor}&page%5Bsize%5D={size}"


async def walk(client: Client, path: str | None, direction: str) -> list[list[str]]:
    """Follow the links in one direction from page to page, and return the ids of each page."""
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

    # The `prev` links lead back from the last page to the first.
    second = (await client.request("GET", start)).document["links"]["next"]
    third = (await client.request("GET", second.removeprefix(client.base_url))).document["links"]
    last = await client.request("GET", third["next"].removeprefix(client.base_url))
    backwards = await walk(
        client, last.document["links"]["prev"].removeprefix(client.base_url), "prev"
    )
    assert backwards == [created[10:20], created[:10]]

    # The `next` links are also correct on pages that were reached by `prev` links.
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
async def test_a_walk_lists_each_remaining_row_once_while_others_change(
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
