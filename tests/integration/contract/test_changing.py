"""Tests of the contract: PATCH requests that change attributes other than `temp_url`."""

from typing import Any

import pytest

from shared.attachable_types import ATTACHABLE_TYPES
from tests.data.images import gradient_photo
from tests.support.resources import PATH, body, invalid, patch, written
from tests.support.service import Service


@pytest.mark.parametrize(
    ("attributes", "include"),
    [
        pytest.param({"name": "another name.jpg"}, "task", id="name"),
        pytest.param({"attachable_type": "task", "attachable_id": 9}, "task", id="attachable"),
        pytest.param({"attachable_type": "booking"}, "task", id="attachable without relationship"),
        pytest.param({"attachable_id": None}, "comment", id="no attachable_id any more"),
        pytest.param({"attachable_type": None}, "comment", id="no attachable_type any more"),
        pytest.param({"attachment_type": "inline"}, "task", id="attachment_type"),
        pytest.param({"message_id": "m", "external_id": "e"}, "task", id="message and external id"),
        pytest.param({}, "task", id="nothing"),
    ],
)
async def test_an_attribute_changes_and_all_others_stay(
    running: Service, attributes: dict[str, Any], include: str
) -> None:
    client = await running.organization()
    created = await client.create("img.png", attachable_type="comment", attachable_id=5)
    attachment_id = created["data"]["id"]
    before = await client.show(attachment_id)
    query = f"?include={include}"

    answer = await client.request(
        "PATCH", f"{PATH}/{attachment_id}{query}", body(attributes, attachment_id)
    )

    attachable = {"attachable_type": "comment", "attachable_id": 5, **attributes}
    related = None
    if attachable["attachable_type"] == include and attachable["attachable_id"] is not None:
        related = {"type": f"{include}s", "id": str(attachable["attachable_id"])}
    shown = {name: value for name, value in attributes.items() if name != "attachable_id"}
    expected = {
        **before,
        "attributes": {**before["attributes"], **shown},
        "relationships": {**before["relationships"], include: {"data": related}},
    }
    assert answer.status == 200
    assert written(answer.document) == written({"data": expected, "meta": {}, "included": []})
    again = await client.request("GET", f"{PATH}/{attachment_id}{query}")
    assert again.document == answer.document


async def test_a_new_name_leaves_key_and_file_as_they_are(working: Service) -> None:
    client = working.client
    attachment_id = await client.upload(gradient_photo(), "before.jpg")
    before = (await client.settled(attachment_id))["attributes"]

    answer = await patch(client, attachment_id, {"name": "after.jpg"})

    assert answer.data["attributes"] == {**before, "name": "after.jpg"}
    async with client.session.get(answer.data["attributes"]["url"]) as file:
        assert file.headers["Content-Disposition"] == 'inline; filename="after.jpg"'
        assert await file.read() == gradient_photo()


async def test_attributes_that_cannot_be_changed_are_ignored(running: Service) -> None:
    client = await running.organization()
    attachment_id = (await client.create("img.png", content_type="image/png", size=3))["data"]["id"]
    before = await client.show(attachment_id)

    answer = await patch(
        client,
        attachment_id,
        {
            "size": 10**12,
            "content_type": "application/x-msdownload",
            "resized": True,
            "url": "https://evil.example",
            "thumb": "https://evil.example",
            "created_at": "2000-01-01T00:00:00Z",
            "deleted_at": "2000-01-01T00:00:00Z",
            "no_such_attribute": 1,
        },
    )

    assert answer.status == 200
    assert answer.document == {"data": before, "meta": {}}


@pytest.mark.parametrize(
    ("attributes", "errors"),
    [
        pytest.param(
            {"attachable_type": ""},
            [
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": ""},
                )
            ],
            id="the contract's",
        ),
        pytest.param(
            {"temp_url": "https://evil.example/a", "attachable_type": "x", "name": ""},
            [
                invalid("data/attributes/name", "can't be blank", {}),
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
            ],
            id="all at once",
        ),
    ],
)
async def test_a_faulty_change_is_refused_and_changes_nothing(
    running: Service, attributes: dict[str, Any], errors: list[Any]
) -> None:
    client = await running.organization()
    attachment_id = (await client.create())["data"]["id"]
    before = await client.show(attachment_id)

    answer = await patch(client, attachment_id, {"message_id": "good", **attributes})

    assert answer.status == 422
    assert written(answer.document) == written({"errors": errors})
    assert await client.show(attachment_id) == before
