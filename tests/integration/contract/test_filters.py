"""Tests of the contract: filters of a list."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.listing import ATTACHED, create_many, get
from tests.support.resources import PATH, problem
from tests.support.service import Answer, Client, Service


def names(answer: Answer) -> list[str]:
    """Return the names of the attachments in a list."""
    assert answer.status == 200, answer.body
    return [item["attributes"]["name"] for item in answer.data]


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
        pytest.param("filter[booking_id]=1", "booking_id", id="no relationship"),
        pytest.param("filter[created_at]=2026-04-17", "created_at", id="a time without operator"),
        pytest.param("filter[created_at][eq]=2026-04-17", "created_at[eq]", id="an exact time"),
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
    detail = "Filter 'task_id' takes ids: decimal integers from 1, with commas"
    expected = problem(400, "Unsupported Filter Value", detail)
    expected["errors"][0]["source"] = {"parameter": "filter[task_id]"}
    assert answer.document == expected


VARIED: list[dict[str, Any]] = [
    {"name": "a", "external_id": "x", "message_id": "<1@host>", "attachable_type": "booking"},
    {"name": "b", "external_id": "x,y", "message_id": "<2@host>"},
    {"name": "c", "external_id": "y", "attachable_type": "deal", "attachable_id": 1},
    {"name": "d"},
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("filter[external_id]=x", "a", id="external_id"),
        pytest.param("filter[external_id]=x,y", "b", id="a text with a comma"),
        pytest.param("filter[external_id][]=x&filter[external_id][]=y", "ac", id="texts"),
        pytest.param("filter[external_id][not_eq]=x", "bcd", id="not this text"),
        pytest.param("filter[message_id]=%3C2@host%3E", "b", id="message_id"),
        pytest.param("filter[message_id]=%3C3@host%3E", "", id="no such message_id"),
        pytest.param("filter[attachable_type]=booking", "a", id="type without relationship"),
        pytest.param("filter[attachable_type]=booking,deal", "ac", id="types"),
        pytest.param("filter[attachable_type][not_eq]=deal", "abd", id="not this type"),
        pytest.param("filter[deal_id]=1", "c", id="deal"),
        pytest.param("filter[state]=pending", "abc", id="state"),
        pytest.param("filter[state]=ready", "d", id="another state"),
        pytest.param("filter[state]=ready,pending", "abcd", id="states"),
        pytest.param("filter[state]=ready,pending&sort=-id", "dcba", id="states, descending"),
        pytest.param("filter[state]=ready,pending&page[size]=2&page[number]=2", "cd", id="page"),
        pytest.param("filter[state][not_eq]=ready", "abc", id="not this state"),
        pytest.param("filter[state]=pending&filter[external_id]=y", "c", id="two filters"),
        pytest.param("filter[creator_id]=7", "d", id="creator"),
        pytest.param("filter[creator_id][not_eq]=7", "abc", id="not this creator"),
        pytest.param("filter[organization_id]={organization}", "abcd", id="organization"),
        pytest.param("filter[organization_id]=1", "", id="another organization"),
        pytest.param("filter[organization_id][not_eq]={organization}", "", id="not its own"),
        pytest.param("filter[id]={first},{last}", "ad", id="ids"),
        pytest.param("filter[id][not_eq]={first},{last}", "bc", id="not these ids"),
    ],
)
async def test_a_filter_finds_what_has_its_values(running: Service, query: str, found: str) -> None:
    other = await running.organization()
    await create_many(other, VARIED)
    client = await running.organization()
    made = await create_many(client, VARIED)
    await running.execute(
        "UPDATE attachments SET state = 'ready', creator_id = 7 WHERE id = $1", int(made[-1])
    )

    answer = await get(
        client, query.format(first=made[0], last=made[-1], organization=client.organization_id)
    )

    assert "".join(names(answer)) == found
    size = 2 if "page[size]" in query else 30
    assert answer.document["meta"]["total_count"] == len(found) or size == 2


async def test_pages_by_cursor_keep_the_filter(client: Client) -> None:
    made = await create_many(client, VARIED)

    seen, link = [], f"{PATH}?filter[attachable_type]=booking,deal&page[after]=&page[size]=1"
    while link:
        answer = await client.request("GET", link.replace("[", "%5B").replace("]", "%5D"))
        seen += [item["id"] for item in answer.data]
        link = (answer.document["links"]["next"] or "").removeprefix(client.base_url)

    assert seen == [made[0], made[2]]


async def test_a_shown_time_is_the_limit_of_a_filter(running: Service) -> None:
    client = await running.organization()
    made = await create_many(client, VARIED)
    for number, each in enumerate(made):
        await running.execute(
            "UPDATE attachments SET created_at = $2 WHERE id = $1",
            int(each),
            datetime.fromisoformat("2026-04-17T06:02:48.589123+02:00")
            + timedelta(milliseconds=number),
        )
    shown = (await client.show(made[1]))["attributes"]["created_at"]

    expected = {"gt": "cd", "gt_eq": "bcd", "lt": "a", "lt_eq": "ab"}
    for operator, found in expected.items():
        # The shown time contains a plus sign. Without encoding, a plus sign in a query is a space.
        for written in (quote(shown), shown):
            answer = await get(client, f"filter[created_at][{operator}]={written}")
            assert "".join(names(answer)) == found, (operator, written)
    both = (
        f"filter[created_at][gt]={quote(shown)}&filter[created_at][lt_eq]=2026-04-17T04:02:48.591Z"
    )
    assert "".join(names(await get(client, both))) == "c"
    assert "".join(names(await get(client, "filter[created_at][gt]=2026-04-18"))) == ""


@pytest.mark.parametrize(
    "query",
    [
        "filter[state]=done",
        "filter[state]=",
        "filter[state]=Ready",
        "filter[attachable_type]=comments",
        "filter[attachable_type]=",
        "filter[external_id]=",
        "filter[external_id]=%00",
        "filter[external_id]=" + "x" * 256,
        "filter[message_id]=%20",
        "filter[creator_id]=me",
        "filter[id]=0",
        "filter[created_at][gt]=yesterday",
        "filter[created_at][gt]=",
        "filter[created_at][lt]=0001-01-01T00:00:00%2B14:00",
        "filter[created_at][gt]=9999-12-31T23:59:59.9999",
        "filter[created_at][gt]=2026-04-17T25:00:00",
    ],
)
async def test_a_value_that_a_filter_cannot_take_is_refused(client: Client, query: str) -> None:
    answer = await get(client, query)

    assert answer.status == 400
    (error,) = answer.document["errors"]
    assert error["title"] == "Unsupported Filter Value"
    assert error["source"] == {"parameter": query.partition("=")[0]}
