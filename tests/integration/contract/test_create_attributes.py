"""Tests of the contract: attributes of a create request that are stored or ignored."""

import pytest

from tests.support.creating import MAX_SIZE, post
from tests.support.resources import PATH, body, resource, time, written
from tests.support.service import Client, Service


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        pytest.param("img.png", "img.png", id="safe already"),
        pytest.param("Übersicht März.pdf", "Ubersicht_Marz.pdf", id="accents and a space"),
        pytest.param("写真.jpg", "file.jpg", id="another script"),
        pytest.param("../../etc/passwd", "file._etc_passwd", id="a path"),
        pytest.param("${filename}", "_filename_", id="the variable of S3's forms"),
        pytest.param('a"b\\c%2F.png', "a_b_c_2F.png", id="quotes and escapes"),
        pytest.param(".", "file", id="a dot"),
        pytest.param("x" * 251 + ".png", "x" * 176 + ".png", id="255 characters"),
    ],
)
async def test_the_name_is_shown_as_sent_and_the_key_is_safe(
    client: Client, name: str, file_name: str
) -> None:
    created = (await client.create(name))["data"]

    assert created["attributes"]["name"] == name
    assert created["attributes"]["aws_policy"]["key"].rsplit("/", 1)[1] == file_name
    assert created["attributes"]["url"].rsplit("/", 1)[1] == file_name
    assert (await client.show(created["id"]))["attributes"]["name"] == name


async def test_everything_that_a_client_may_send_is_kept(running: Service, client: Client) -> None:
    attributes = {
        "name": "a.png",
        "attachable_type": "task",
        "attachable_id": 2**63 - 1,
        "content_type": "image/png",
        "size": MAX_SIZE,
        "attachment_type": "inline",
        "message_id": "<1@mail.example>",
        "external_id": "42-ö",
    }
    attachment_id = (await post(client, attributes)).data["id"]

    answer = await client.request("GET", f"{PATH}/{attachment_id}?include=task")

    row = await running.row(attachment_id)
    assert written(answer.data) == written(
        resource(
            attachment_id,
            client.organization_id,
            attributes={
                "name": "a.png",
                "content_type": "image/png",
                "size": MAX_SIZE,
                "url": f"{client.base_url}/{row.key}",
                "created_at": time(row.created_at),
                "attachment_type": "inline",
                "message_id": "<1@mail.example>",
                "external_id": "42-ö",
                "attachable_type": "task",
            },
            relationships={"task": {"data": {"type": "tasks", "id": "9223372036854775807"}}},
        )
    )


@pytest.mark.parametrize(
    "attachable_type",
    [
        "invoice",
        "purchase_order",
        "bill",
        "email",
        "page",
        "expense",
        "comment",
        "task",
        "document_style",
        "document_type",
        "deal",
        "booking",
        "widget",
        None,
    ],
)
async def test_an_attachment_may_belong_to(client: Client, attachable_type: str | None) -> None:
    answer = await post(client, {"name": "a.png", "attachable_type": attachable_type})

    assert answer.status == 201
    assert answer.data["attributes"]["attachable_type"] == attachable_type


async def test_read_only_and_unknown_attributes_are_ignored(client: Client) -> None:
    answer = await post(
        client,
        {
            "name": "a.png",
            "resized": True,
            "url": "https://evil.example",
            "thumb": "https://evil.example",
            "created_at": "2000-01-01T00:00:00Z",
            "deleted_at": "2000-01-01T00:00:00Z",
            "state": "ready",
            "aws_policy": {"key": "another"},
            "no_such_attribute": 1,
        },
    )

    attributes = answer.data["attributes"]
    assert answer.status == 201
    assert attributes["resized"] is False
    assert attributes["thumb"] is None
    assert attributes["deleted_at"] is None
    assert attributes["url"].startswith(f"{client.base_url}/attachments/files/")
    assert not attributes["created_at"].startswith("2000")
    assert attributes["aws_policy"]["key"].endswith("/original/a.png")
    assert "no_such_attribute" not in attributes
    assert answer.data["meta"]["state"] == "pending"


async def test_include_and_fieldsets_hold_for_the_answer_too(client: Client) -> None:
    answer = await client.request(
        "POST",
        f"{PATH}?include=task&fields[attachments]=name,task,aws_policy",
        body({"name": "a.png", "attachable_type": "task", "attachable_id": 3}),
    )

    assert answer.status == 201
    assert list(answer.data["attributes"]) == ["name", "aws_policy"]
    assert answer.data["relationships"] == {"task": {"data": {"type": "tasks", "id": "3"}}}
    assert answer.document["included"] == []


async def test_types_are_taken_as_clients_send_them(running: Service, client: Client) -> None:
    created = await client.create(
        "a.png",
        content_type="",
        size="1234",
        attachable_type="task",
        attachable_id="7",
        attachment_type=" ",
        external_id=12,
        message_id="",
        temp_url="",
    )

    attributes = created["data"]["attributes"]
    assert "Content-Type" not in attributes["aws_policy"]
    assert (attributes["content_type"], attributes["size"]) == (None, 1234)
    assert (attributes["external_id"], attributes["message_id"]) == ("12", None)
    row = await running.row(created["data"]["id"])
    assert (row.attachable_id, row.attachment_type, row.temp_url) == (7, None, None)
    answer = await client.request(
        "PATCH",
        f"{PATH}/{row.id}",
        body({"attachable_id": "8", "external_id": "", "message_id": 5}),
    )
    assert answer.status == 200
    row = await running.row(row.id)
    assert (row.attachable_id, row.external_id, row.message_id) == (8, None, "5")
