"""A new policy for an attachment that has one: same key, same limits, later expiry."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.states import State
from tests.support.creating import decoded
from tests.support.quotas import NO_DRIFT, drift, usage
from tests.support.resources import NOT_FOUND, PATH, is_error, stored
from tests.support.service import Answer, Client, Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def renew(client: Client, attachment_id: str, document: Any = None) -> Answer:
    """Request a new policy for an attachment."""
    return await client.request("POST", f"{PATH}/{attachment_id}/aws_policy", document)


async def expire(service: Service, attachment_id: str) -> None:
    """Set an attachment to `expired`, as the sweep does if the policy ends without an upload."""
    await service.execute(
        "UPDATE attachments SET state = 'expired', due_at = NULL,"
        " policy_expires_at = now() - interval '1 day', created_at = now() - interval '2 days'"
        " WHERE id = $1",
        int(attachment_id),
    )


async def test_an_expired_attachment_is_pending_again_and_takes_a_file(
    service: Service, bucket: "S3Client"
) -> None:
    client = service.client
    created = await client.create(content_type="application/pdf", external_id="e")
    attachment_id = created["data"]["id"]
    await expire(service, attachment_id)

    answer = await renew(client, attachment_id)

    assert answer.status == 200, answer.body
    assert set(answer.document) == {"data", "meta"}
    assert answer.document["meta"]["upload_url"] == created["meta"]["upload_url"]
    assert answer.data["meta"]["state"] == "pending"
    policy, former = (
        document["data"]["attributes"].pop("aws_policy") for document in (answer.document, created)
    )
    assert list(policy) == list(former)
    assert policy["key"] == former["key"]
    assert policy["Content-Type"] == "application/pdf"
    row = await service.row(attachment_id)
    assert row.due_at is not None
    ends = decoded(policy)["expiration"]
    assert f"{row.policy_expires_at:%Y-%m-%dT%H:%M:%SZ}" == ends
    answer.document["data"]["attributes"]["aws_policy"] = policy
    status, refused = await client.post_file(answer.document, b"the file")
    assert status == 201, refused
    assert await stored(bucket, BUCKET, row.key) == b"the file"


async def test_a_file_is_replaced_and_the_state_stays_until_the_new_one_comes(
    working: Service,
) -> None:
    client = working.client
    attachment_id = await client.upload(b"one", "a.txt")
    before = await client.settled(attachment_id)
    assert before["attributes"]["size"] == 3

    answer = await renew(client, attachment_id)

    assert answer.status == 200, answer.body
    assert "Content-Type" not in answer.data["attributes"].pop("aws_policy")
    assert answer.data == before
    renewed = (await renew(client, attachment_id)).document
    status, refused = await client.post_file(renewed, b"another one")
    assert status == 201, refused

    async def replaced() -> Any:
        found = await client.show(attachment_id)
        return found if found["attributes"]["size"] != 3 else None

    await until(replaced, within_s=30)
    shown = await client.settled(attachment_id)
    assert shown["attributes"]["size"] == 11
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["url"] != before["attributes"]["url"]


@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected", "failed"])
async def test_no_other_state_and_no_lease_changes(service: Service, state: State) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    await service.execute(
        "UPDATE attachments SET state = $2, due_at = now() + interval '9 days' WHERE id = $1",
        int(attachment_id),
        state,
    )
    before = await service.row(attachment_id)

    answer = await renew(service.client, attachment_id)

    assert answer.status == 200
    after = await service.row(attachment_id)
    assert after.state == state
    if state in ("uploaded", "processing"):
        assert after.due_at == before.due_at
    else:
        assert after.due_at is not None
        assert before.due_at is not None
        assert after.due_at < before.due_at


async def test_the_bounds_of_the_create_still_hold(service: Service) -> None:
    answer = await service.client.request(
        "POST",
        PATH,
        {
            "data": {
                "type": "attachments",
                "attributes": {"name": "a.png"},
                "meta": {"limits": {"max_size": 100}},
            }
        },
    )

    policy = (await renew(service.client, answer.data["id"])).data["attributes"]["aws_policy"]

    assert ["content-length-range", 0, 100] in decoded(policy)["conditions"]


@pytest.mark.parametrize("row", ["another's", "deleted", "no", "bad"])
async def test_row100_a_policy_of_anothers_attachment_is_as_of_a_missing_one(
    service: Service, row: str
) -> None:
    other = await service.organization()
    attachment_id = (await other.create())["data"]["id"]
    caller = other if row == "deleted" else service.client
    if row == "deleted":
        await other.request("DELETE", f"{PATH}/{attachment_id}")
    elif row != "another's":
        attachment_id = {"no": "999", "bad": "01"}[row]

    assert is_error(await renew(caller, attachment_id), NOT_FOUND)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        pytest.param({}, 200, id="empty"),
        pytest.param({"meta": {}}, 200, id="no data"),
        pytest.param({"data": {"type": "attachments", "id": "own"}}, 200, id="its identity"),
        pytest.param({"data": {"type": "attachments", "id": "2"}}, 409, id="another id"),
        pytest.param({"data": {"type": "people", "id": "1"}}, 409, id="another type"),
        pytest.param([], 400, id="no object"),
    ],
)
async def test_row100_a_body_is_not_needed_and_must_fit_if_there_is_one(
    service: Service, document: Any, status: int
) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    if status == 200 and "data" in document:
        document = {"data": {**document["data"], "id": attachment_id}}

    assert (await renew(service.client, attachment_id, document)).status == status


async def test_row100_parameters_and_tokens_are_checked_as_in_a_create(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    path = f"{PATH}/{attachment_id}/aws_policy"
    await service.execute("UPDATE tokens SET scope = 'read'")
    await asyncio.sleep(0.2)
    assert (await service.client.request("POST", path)).status == 403
    await service.execute("UPDATE tokens SET scope = 'write'")
    await asyncio.sleep(0.2)
    assert (await service.client.request("POST", f"{path}?x=1")).status == 400
    assert (await service.client.request("GET", path)).status == 405
    assert (await service.client.request("POST", path)).status == 200


@pytest.mark.parametrize(
    ("setting", "quota"),
    [({"quota_uploads_per_day": "2"}, "uploads_per_day"), ({"quota_bytes": "100"}, "bytes")],
)
async def test_a_new_policy_counts_for_the_quotas(
    start_service: StartService, setting: dict[str, str], quota: str
) -> None:
    service = await start_service(**setting)
    client = service.client
    attachment_id = (await client.create(size=60))["data"]["id"]
    assert (await renew(client, attachment_id)).status == 200
    # The quota of bytes does not count an expired attachment. So the test creates another
    # attachment, which uses up the quota.
    if quota == "bytes":
        await expire(service, attachment_id)
        await client.create(size=60)

    answer = await renew(client, attachment_id)

    assert answer.status == 422, answer.body
    (error,) = answer.document["errors"]
    assert error["code"] == "quota_exceeded"
    assert error["meta"]["quota"] == quota
    if quota == "bytes":
        assert (await service.row(attachment_id)).state == "expired"
    assert (await usage(client))["uploads_today"] == (3 if quota == "bytes" else 2)
    assert (await drift(service, client.organization_id))["bytes"] == NO_DRIFT["bytes"]


async def test_a_row_of_another_bucket_gets_no_policy(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    await service.execute("UPDATE attachments SET bucket = 'former'")

    assert (await renew(service.client, attachment_id)).status == 409
