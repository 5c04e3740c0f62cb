"""Tests of the contract: pages of a list, their links and order, and which rows a caller sees."""

from urllib.parse import urlsplit

import pytest

from tests.support.listing import create_many, create_numbered, get, ids
from tests.support.resources import NOT_FOUND, PATH, body, problem, written
from tests.support.service import Client, Service


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
async def test_a_foreign_id_is_not_found(client: Client, attachment_id: str) -> None:
    for method, document in (("GET", None), ("DELETE", None), ("PATCH", body({"name": "a"}))):
        answer = await client.request(method, f"{PATH}/{attachment_id}", document)

        assert answer.status == 404
        assert written(answer.document) == written(NOT_FOUND)
