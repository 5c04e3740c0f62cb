"""Tests of the contract: filters of a list."""

import pytest

from tests.support.listing import ATTACHED, create_many, get
from tests.support.resources import problem
from tests.support.service import Answer, Client


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
