"""Tests of the contract: create requests that are refused, and the text of each error."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.attachable_types import ATTACHABLE_TYPES
from tests.support.creating import MAX_SIZE, count, decoded, post
from tests.support.resources import PATH, body, invalid, written
from tests.support.service import Client
from tests.support.starting import StartService

BLANK = invalid("data/attributes/name", "can't be blank", {})


@pytest.mark.parametrize(
    ("attributes", "errors"),
    [
        pytest.param(
            {"attachable_type": ""},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "can't be blank",
                    "meta": {},
                    "source": {"pointer": "data/attributes/name"},
                },
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "is not included in the list",
                    "meta": {"allow_nil": True, "value": ""},
                    "source": {"pointer": "data/attributes/attachable_type"},
                },
            ],
            id="the contract's sample: name and attachable_type",
        ),
        pytest.param(
            {"name": "a.png", "size": 315_621_376},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "must be less than or equal to 314572800",
                    "meta": {"allow_nil": True, "value": 315_621_376, "count": 314_572_800},
                    "source": {"pointer": "data/attributes/size"},
                }
            ],
            id="the contract's sample: size",
        ),
        pytest.param(
            {"name": "setup", "content_type": "application/x-msdownload"},
            [
                {
                    "status": "422",
                    "code": "invalid_attribute",
                    "title": "Invalid Attribute",
                    "detail": "is reserved",
                    "meta": {"value": "application/x-msdownload"},
                    "source": {"pointer": "data/attributes/content_type"},
                }
            ],
            id="the contract's sample: reserved type",
        ),
        pytest.param({"name": ""}, [BLANK], id="an empty name"),
        pytest.param({"name": None}, [BLANK], id="a name of null"),
        pytest.param({"name": " \t"}, [BLANK], id="a name of white space"),
        pytest.param(
            {"name": "x" * 256},
            [
                invalid(
                    "data/attributes/name",
                    "is too long (maximum is 255 characters)",
                    {"count": 255},
                )
            ],
            id="a name too long",
        ),
        pytest.param(
            {"name": "a", "attachable_id": "five"},
            [
                invalid(
                    "data/attributes/attachable_id",
                    "is not a number",
                    {"allow_nil": True, "value": "five"},
                )
            ],
            id="no number",
        ),
        pytest.param(
            {"name": "a", "attachment_type": "other"},
            [
                invalid(
                    "data/attributes/attachment_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "other", "allowed": ["inline"]},
                )
            ],
            id="an unknown attachment_type",
        ),
        pytest.param(
            {"name": "a", "content_type": "png"},
            [invalid("data/attributes/content_type", "is invalid", {"value": "png"})],
            id="no content type",
        ),
        pytest.param(
            {"name": "a", "temp_url": "https://evil.example/a"},
            [
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                )
            ],
            id="a temp_url elsewhere",
        ),
        pytest.param(
            {
                "temp_url": "https://evil.example/a",
                "external_id": 1.5,
                "message_id": "x" * 256,
                "attachment_type": "x",
                "attachable_id": 0,
                "content_type": "Application/X-MSDownload; a=b",
                "size": -1,
                "attachable_type": "project",
                "name": "",
            },
            [
                BLANK,
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "project", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/attributes/size",
                    "must be greater than or equal to 0",
                    {"allow_nil": True, "value": -1, "count": 0},
                ),
                invalid(
                    "data/attributes/content_type",
                    "is reserved",
                    {"value": "Application/X-MSDownload; a=b"},
                ),
                invalid(
                    "data/attributes/attachable_id",
                    "must be greater than or equal to 1",
                    {"allow_nil": True, "value": 0, "count": 1},
                ),
                invalid(
                    "data/attributes/attachment_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": ["inline"]},
                ),
                invalid(
                    "data/attributes/message_id",
                    "is too long (maximum is 255 characters)",
                    {"count": 255},
                ),
                invalid("data/attributes/external_id", "is invalid", {"value": 1.5}),
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
            ],
            id="all at once, in the contract's order whatever the client's",
        ),
    ],
)
async def test_every_fault_of_an_attachment_is_reported(
    client: Client, attributes: Mapping[str, Any], errors: list[Any]
) -> None:
    answer = await post(client, attributes)

    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written({"errors": errors})
    assert await count(client) == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-msdownload",
        "application/x-dosexec",
        "application/x-executable",
        "application/x-msi",
        "application/vnd.android.package-archive",
        "application/hta",
        "application/x-mswinurl",
        "application/x-bat",
        "text/x-ms-regedit",
        "application/x-mach-binary",
        "application/java-archive",
    ],
)
async def test_types_that_a_desktop_runs_are_reserved(client: Client, content_type: str) -> None:
    answer = await post(client, {"name": "a", "content_type": content_type})

    assert answer.status == 422
    assert answer.document == {
        "errors": [invalid("data/attributes/content_type", "is reserved", {"value": content_type})]
    }


@pytest.mark.parametrize("size", [0, MAX_SIZE])
async def test_sizes_up_to_the_limit_are_taken(client: Client, size: int) -> None:
    answer = await post(client, {"name": "a.png", "size": size})

    assert answer.status == 201
    assert answer.data["attributes"]["size"] == size


async def test_the_limit_is_a_setting(start_service: StartService) -> None:
    service = await start_service(max_size="10")

    refused = await post(service.client, {"name": "a.png", "size": 11})
    taken = await post(service.client, {"name": "a.png", "size": 10})

    assert refused.document == {
        "errors": [
            invalid(
                "data/attributes/size",
                "must be less than or equal to 10",
                {"allow_nil": True, "value": 11, "count": 10},
            )
        ]
    }
    policy = decoded(taken.data["attributes"]["aws_policy"])
    assert policy["conditions"][3] == ["content-length-range", 0, 10]


async def test_an_id_of_the_clients_own_is_refused(client: Client) -> None:
    answer = await client.request("POST", PATH, body({"name": "a"}, "5"))

    assert answer.status == 403
    assert [error["title"] for error in answer.document["errors"]] == ["Access Denied"]
    assert await count(client) == 0
