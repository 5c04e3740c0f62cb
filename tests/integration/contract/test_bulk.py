"""Tests of the contract: requests that create many attachments."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.attachable_types import ATTACHABLE_TYPES
from tests.support.creating import MAX_SIZE, count, decoded, expected_fields
from tests.support.resources import PATH, body, invalid, problem, written
from tests.support.service import MEDIA_TYPE, Client, Service

BULK = f"{MEDIA_TYPE}; ext=bulk"
BULK_HEADERS = {"Content-Type": BULK, "Accept": BULK}


@pytest.mark.parametrize("fields", ["name", "", "nonsense", "task"])
async def test_a_fieldset_keeps_the_policy(client: Client, fields: str) -> None:
    query = f"{PATH}?fields[attachments]={fields}"
    one = await client.request("POST", query, body({"name": "a.png"}))
    bulk = await client.request("POST", query, many([{"name": "a.png"}]), headers=BULK_HEADERS)

    named = [name for name in ("name",) if name == fields]
    for answer, created in ((one, one.data), (bulk, bulk.data[0])):
        assert answer.status == 201
        assert list(created["attributes"]) == [*named, "aws_policy"]
        assert answer.document["meta"]["upload_url"]
    shown = await client.request("GET", f"{PATH}/{one.data['id']}?fields[attachments]=aws_policy")
    assert shown.data["attributes"] == {}


def many(attributes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document of a bulk request; each of `attributes` becomes one attachment."""
    return {"data": [body(item)["data"] for item in attributes]}


async def test_many_are_created_at_once_in_their_order(running: Service, client: Client) -> None:
    answer = await client.request(
        "POST",
        PATH,
        many([{"name": f"{n}.png", "content_type": "image/png"} for n in range(100)]),
        headers=BULK_HEADERS,
    )

    assert answer.status == 201
    assert list(answer.document) == ["data", "meta"]
    assert list(answer.document["meta"]) == ["upload_url", "expires_at"]
    assert [item["attributes"]["name"] for item in answer.data] == [f"{n}.png" for n in range(100)]
    for item in (answer.data[0], answer.data[99]):
        row = await running.row(item["id"])
        fields, policy = expected_fields(running, row, content_type="image/png")
        sent = item["attributes"]["aws_policy"]
        assert list(sent) == list(fields)
        assert sent["key"] == row.key
        assert decoded(sent) == policy
    assert await count(client) == 100


async def test_one_of_many_is_an_array_too(client: Client) -> None:
    answer = await client.request("POST", PATH, many([{"name": "a"}]), headers=BULK_HEADERS)

    assert answer.status == 201
    assert [item["attributes"]["name"] for item in answer.data] == ["a"]


async def test_of_many_all_are_created_or_none(client: Client) -> None:
    answer = await client.request(
        "POST",
        PATH,
        many(
            [
                {"name": "", "temp_url": "https://evil.example/a"},
                {"name": "good.png"},
                {"name": "a", "size": MAX_SIZE + 1, "attachable_type": "x"},
                {"name": None},
            ]
        ),
        headers=BULK_HEADERS,
    )

    assert answer.status == 422
    assert written(answer.document) == written(
        {
            "errors": [
                invalid("data/0/attributes/name", "can't be blank", {}),
                invalid(
                    "data/0/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
                invalid(
                    "data/2/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/2/attributes/size",
                    f"must be less than or equal to {MAX_SIZE}",
                    {"allow_nil": True, "value": MAX_SIZE + 1, "count": MAX_SIZE},
                ),
                invalid("data/3/attributes/name", "can't be blank", {}),
            ]
        }
    )
    assert await count(client) == 0


@pytest.mark.parametrize(
    ("document", "headers"),
    [
        pytest.param(many([{"name": "a"}] * 101), BULK_HEADERS, id="101"),
        pytest.param(many([]), BULK_HEADERS, id="none"),
        pytest.param(body({"name": "a"}), BULK_HEADERS, id="an object with ext=bulk"),
        pytest.param(many([{"name": "a"}]), {}, id="an array without it"),
        pytest.param({"data": ["a"]}, BULK_HEADERS, id="no resource objects"),
    ],
)
async def test_many_that_are_not_as_many_should_be_are_refused(
    client: Client, document: Any, headers: Mapping[str, str]
) -> None:
    answer = await client.request("POST", PATH, document, headers=headers)

    assert answer.status == 400
    assert [error["title"] for error in answer.document["errors"]] == ["Bad Request"]
    assert await count(client) == 0


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param(BULK, 201, id="bulk"),
        pytest.param(f'{MEDIA_TYPE}; ext="bulk"', 201, id="bulk in quotes"),
        pytest.param("*/*", 201, id="anything"),
        pytest.param("", 201, id="none at all"),
        pytest.param(MEDIA_TYPE, 406, id="the media type without it"),
        pytest.param(f"{MEDIA_TYPE}; ext=other", 406, id="another extension"),
        pytest.param("text/html", 406, id="something else"),
    ],
)
async def test_many_are_answered_where_bulk_is_accepted(
    client: Client, accept: str, status: int
) -> None:
    answer = await client.request(
        "POST", PATH, many([{"name": "a"}]), headers={"Content-Type": BULK, "Accept": accept}
    )

    assert answer.status == status
    if status == 201:
        assert answer.headers["Content-Type"] == f"{BULK}; charset=utf-8"
    if status == 406:
        assert answer.document == problem(406, "Not Acceptable", "The request was not accepted")
        assert await count(client) == 0
