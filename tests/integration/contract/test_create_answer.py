"""Tests of the contract: the answer to a create request, and its policy."""

from datetime import timedelta

import pytest

from shared.links import Links
from tests.support.creating import decoded, expected_fields, post
from tests.support.resources import PATH, body, resource, time, written
from tests.support.service import Client, Service
from tests.support.starting import StartService


async def test_create_answers_the_contracts_sample(start_service: StartService) -> None:
    service = await start_service(s3_region="eu-west-1")
    client = service.client
    await service.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 4")

    answer = await post(
        client, {"name": "img.png", "attachable_id": 5, "attachable_type": "comment"}
    )

    row = await service.row(4)
    fields, policy = expected_fields(service, row)
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    expires = row.created_at.replace(microsecond=0) + timedelta(hours=1)
    expected = {
        "data": resource(
            "4",
            client.organization_id,
            attributes={
                "name": "img.png",
                "url": f"{client.base_url}/attachments/files/000/000/004/original/img.png",
                "created_at": time(row.created_at),
                "attachable_type": "comment",
                "aws_policy": fields,
            },
        ),
        "meta": {
            "upload_url": f"{service.stack.seaweedfs.url}/{service.settings.s3_bucket}",
            "expires_at": time(expires),
            "status_url": Links(service.settings).status_url(
                4, row.created_at, expires + timedelta(hours=1), client.base_url
            ),
        },
    }
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert answer.headers["Location"] == f"{client.base_url}{PATH}/4"
    assert written(answer.document) == written(expected)
    assert fields["key"] == "attachments/files/000/000/004/original/img.png"
    assert written(decoded(sent)) == written(policy)
    assert row.attachable_id == 5


async def test_a_declared_type_is_a_form_field_and_a_condition(
    running: Service, client: Client
) -> None:
    answer = await post(client, {"name": "a.pdf", "content_type": "application/pdf"})

    row = await running.row(answer.data["id"])
    fields, policy = expected_fields(running, row, content_type="application/pdf")
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    assert written(sent) == written(fields)
    assert written(decoded(sent)) == written(policy)
    assert answer.data["attributes"]["content_type"] == "application/pdf"


async def test_temporary_credentials_add_their_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token-of-the-tests")
    service = await start_service()

    answer = await post(service.client, {"name": "a.png"})

    row = await service.row(answer.data["id"])
    fields, policy = expected_fields(service, row, token="session-token-of-the-tests")
    sent = answer.data["attributes"]["aws_policy"]
    fields |= {"policy": sent["policy"], "x-amz-signature": sent["x-amz-signature"]}
    assert written(sent) == written(fields)
    assert written(decoded(sent)) == written(policy)


async def test_the_policy_is_on_that_answer_only(client: Client) -> None:
    created = await client.create()
    attachment_id = created["data"]["id"]

    listed = await client.request("GET", PATH)
    changed = await client.request(
        "PATCH", f"{PATH}/{attachment_id}", body({"name": "other"}, attachment_id)
    )

    assert "aws_policy" in created["data"]["attributes"]
    for shown in (await client.show(attachment_id), listed.data[0], changed.data):
        assert "aws_policy" not in shown["attributes"]


@pytest.mark.parametrize(
    ("attachment_id", "partition"),
    [
        pytest.param(4, "000/000/004", id="4"),
        pytest.param(2_592_959, "002/592/959", id="2,592,959"),
        pytest.param(999_999_999, "999/999/999", id="the last of nine digits"),
        pytest.param(1_000_000_000, "001/000/000/000", id="twelve digits from 1,000,000,000"),
    ],
)
async def test_the_key_holds_the_id_in_groups_of_three(
    service: Service, attachment_id: int, partition: str
) -> None:
    await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {attachment_id}")

    created = (await service.client.create("img.png"))["data"]

    assert created["id"] == str(attachment_id)
    key = f"attachments/files/{partition}/original/img.png"
    assert created["attributes"]["aws_policy"]["key"] == key
    assert created["attributes"]["url"] == f"{service.base_url}/{key}"
