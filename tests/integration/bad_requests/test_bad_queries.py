"""Invalid queries, and pages at the ends of a list."""

import base64
from urllib.parse import quote

import pytest

from tests.data.bad_bodies import body_of
from tests.support.bad_requests import PATH, Target, assert_refused


def encoded(**parameters: str) -> str:
    """Return a query with these parameters; names and values are percent-encoded."""
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in parameters.items())


def cursor(text: str) -> str:
    """Encode a text as the service encodes cursors. The text may be invalid."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


QUERIES: dict[str, str] = {
    "row35-or-1": "filter[task_id]=1%20OR%201=1",
    "row35-drop-table": "filter[task_id]=1;DROP%20TABLE%20attachments;--",
    "row35-quote": "filter[task_id]=1'",
    "row35-union": "filter[comment_id]=1)%20UNION%20SELECT%20*%20FROM%20tokens--",
    "row35-wildcard": "filter[comment_id]=%25",
    "row35-in-name": "filter[task_id'%20OR%201=1--]=1",
    "row35-in-operator": "filter[task_id][eq'%20OR%201=1--]=1",
    "row35-in-sort": "sort=id;DROP%20TABLE%20attachments",
    "row35-in-include": "include=task;DROP%20TABLE%20attachments",
    "row35-in-size": "page[size]=1;SELECT%201",
    "row35-in-cursor": f"page[after]={cursor('1 OR 1=1')}",
    "row36-unknown-sort": "sort=name",
    "row36-two-sorts": "sort=id,-id",
    "row36-plus-sort": "sort=%2Bid",
    "row36-empty-sort": "sort=",
    "row36-unknown-include": "include=owner",
    "row36-unknown-include-among-known": "include=task,owner",
    "row36-include-path": "include=task.deal",
    "row36-include-upper-case": "include=Task",
    "row36-unknown-filter": "filter[booking_id]=1",
    "row36-filter-of-column": "filter[bucket]=1",
    "row36-filter-without-name": "filter=1",
    "row36-filter-empty-name": "filter[]=1",
    "row36-filter-three-levels": "filter[task_id][eq][eq]=1",
    "row36-filter-unclosed": "filter[task_id=1",
    "row36-filter-upper-case": "filter[Task_id]=1",
    "row36-unknown-operator": "filter[task_id][gt]=1",
    "row36-filter-value-text": "filter[task_id]=abc",
    "row36-filter-value-empty": "filter[task_id]=",
    "row36-filter-value-zero": "filter[task_id]=0",
    "row36-filter-value-negative": "filter[task_id]=-1",
    "row36-filter-value-2-to-the-63": f"filter[task_id]={2**63}",
    "row36-filter-value-leading-zero": "filter[task_id]=01",
    "row36-filter-value-arabic": f"filter[task_id]={quote('٣')}",
    "row36-filter-value-5000-digits": f"filter[task_id]={'1' * 5000}",
    "row36-filter-value-trailing-comma": "filter[task_id]=1,",
    "row36-filter-201-values": f"filter[task_id]={','.join(['1'] * 201)}",
    "row36-filter-of-texts-201-values": "&".join(f"filter[external_id][]={n}" for n in range(201)),
    "row36-filter-time-sql": "filter[created_at][gt]=now()",
    "row36-filter-time-200-digits": f"filter[created_at][gt]={'1' * 200}",
    "row36-page-number-zero": "page[number]=0",
    "row36-page-number-negative": "page[number]=-1",
    "row36-page-number-text": "page[number]=two",
    "row36-page-number-fraction": "page[number]=1.5",
    "row36-page-number-empty": "page[number]=",
    "row36-page-number-arabic": f"page[number]={quote('٣')}",
    "row36-page-number-huge": f"page[number]={10**18}",
    "row36-page-number-5000-digits": f"page[number]={'1' * 5000}",
    "row36-page-number-twice-last-bad": "page[number]=1&page[number]=0",
    "row36-cursor-with-a-large-page": f"page[after]={cursor('1')}&page[size]=201",
    "row36-page-size-zero": "page[size]=0",
    "row36-page-size-negative": "page[size]=-30",
    "row36-page-size-text": "page[size]=all",
    "row36-page-size-empty": "page[size]=",
    "row36-unknown-page": "page[offset]=1",
    "row36-page-without-name": "page=2",
    "row36-page-unclosed": "page[size=2",
    "row36-cursor-garbage": "page[after]=garbage!",
    "row36-cursor-not-ours": f"page[after]={cursor('01')}",
    "row36-cursor-beyond": f"page[after]={cursor(str(2**63))}",
    "row36-cursor-non-ascii": f"page[before]={quote('é')}",
    "row36-both-cursors": f"page[after]={cursor('1')}&page[before]={cursor('2')}",
    "row36-cursor-and-number": f"page[after]={cursor('1')}&page[number]=2",
    "row36-unknown-parameter": "search=img",
    "row36-nul-in-name": "filter[%00]=1",
    "row36-lone-percent": "filter[%zz]=1",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_that_is_not_understood_is_refused(untouched: Target, query: str) -> None:
    assert_refused(await untouched.client.request("GET", f"{PATH}?{query}"), 400)


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        pytest.param(
            "filter[x]=1",
            "Unsupported Filter",
            "Filter 'x' is not supported on this endpoint",
            id="row36-filter",
        ),
        pytest.param(
            "sort=x",
            "Unsupported Sort",
            "Sort by 'x' is not supported on this endpoint",
            id="row36-sort",
        ),
        pytest.param(
            "include=x",
            "Unsupported Include",
            "Include 'x' is not supported on this endpoint",
            id="row36-include",
        ),
    ],
)
async def test_an_unsupported_parameter_is_named(
    untouched: Target, query: str, title: str, detail: str
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?{query}")
    assert answer.document == {"errors": [{"status": "400", "title": title, "detail": detail}]}


@pytest.mark.parametrize(
    "query", ["sort=id", "filter[task_id]=1", "page[size]=5", "page[number]=1", "include=owner"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_row36_parameters_of_lists_are_refused_elsewhere(
    untouched: Target, method: str, query: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    body = None if method == "GET" else body_of()
    assert_refused(await untouched.client.request(method, f"{path}?{query}", body=body), 400)


@pytest.mark.parametrize(
    ("asked", "given"), [("200", 200), ("201", 200), (str(10**9), 200), (str(10**18), 200)]
)
async def test_row36_a_size_above_200_counts_as_200(
    untouched: Target, asked: str, given: int
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?page[size]={asked}")
    assert answer.status == 200
    assert answer.document["meta"]["page_size"] == given


async def test_row36_a_page_beyond_the_last_is_empty(untouched: Target) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?page[number]=501&page[size]=200")
    assert answer.status == 200
    assert answer.data == []
    assert answer.document["meta"]["total_count"] == 1


@pytest.mark.parametrize(
    "query",
    ["page[number]=502&page[size]=200", "page[number]=100002&page[size]=1", "page[number]=3335"],
)
async def test_row36_a_page_by_number_begins_after_100000_at_most(
    untouched: Target, query: str
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?{query}")
    assert answer.status == 400
    detail = answer.document["errors"][0]["detail"]
    assert "'page[number]'" in detail
    assert "'page[after]'" in detail


async def test_row35_unknown_names_of_a_fieldset_are_ignored(untouched: Target) -> None:
    query = encoded(**{"fields[attachments]": "name,x'; DROP TABLE attachments;--"})
    answer = await untouched.client.request("GET", f"{PATH}/{untouched.mine}?{query}")
    assert answer.data["attributes"] == {"name": "mine.png"}
