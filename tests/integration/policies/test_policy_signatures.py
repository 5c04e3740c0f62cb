"""Policies: their expiry, their signature, and form fields that the policy does not name.

Comments name the rules of S3 that SeaweedFS does not enforce. For example, S3 refuses every form
field that the policy does not name (Amazon S3 API Reference, "POST Policy"). SeaweedFS refuses such
a field only if its name begins with `x-amz-`.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.parts import now
from shared.signing import Credentials, post_policy
from tests.support.policies import CONTENT, policy_of, refusal
from tests.support.resources import PATH, body, stored
from tests.support.service import MEDIA_TYPE, Client, Service
from tests.support.stack import BUCKET
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


def signed_at(service: Service, created: Any, moment: datetime) -> dict[str, str]:
    """Sign an attachment's policy as if the service had signed it at another time."""
    seaweedfs = service.stack.seaweedfs
    return post_policy(
        bucket=BUCKET,
        key=policy_of(created)["key"],
        region=seaweedfs.region,
        credentials=Credentials(
            access_key=seaweedfs.access_key_id, secret_key=seaweedfs.secret_access_key
        ),
        now=moment,
        lifetime_s=3600,
        max_bytes=service.settings.max_size,
        content_type=None,
    )


async def test_the_store_takes_nothing_once_the_policy_has_expired(
    running: Service, client: Client, bucket: "S3Client"
) -> None:
    created = await client.create()
    key = policy_of(created)["key"]

    expired = signed_at(running, created, now() - timedelta(hours=1, seconds=5))
    await refusal(client, created, expired)
    assert await stored(bucket, BUCKET, key) is None

    # The same request with a later time is accepted. So the time was the reason for the refusal.
    living = signed_at(running, created, now() - timedelta(minutes=50))
    status, answer = await client.post_file(created, CONTENT, changed=living)
    assert status == 201, answer


async def test_the_policys_life_is_a_setting(start_service: StartService) -> None:
    service = await start_service(policy_ttl="120")

    created = await service.client.create()

    row = await service.row(created["data"]["id"])
    fields = policy_of(created)
    signed = datetime.strptime(fields["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert row.policy_expires_at == signed + timedelta(seconds=120)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"x-amz-meta-a": "b"}, id="metadata"),
        pytest.param({"x-amz-storage-class": "GLACIER"}, id="a storage class"),
        pytest.param({"x-amz-server-side-encryption": "AES256"}, id="an encryption"),
    ],
)
async def test_the_store_takes_no_field_that_the_policy_does_not_name(
    client: Client, bucket: "S3Client", fields: dict[str, str]
) -> None:
    # S3 refuses `acl` and similar fields. SeaweedFS 4.48 ignores them, but it has no public
    # objects: see the next test.
    created = await client.create()

    assert await refusal(client, created, fields) == "AccessDenied"
    assert await stored(bucket, BUCKET, policy_of(created)["key"]) is None


async def test_a_field_that_makes_an_object_public_does_not(client: Client) -> None:
    created = await client.create()

    await client.post_file(created, CONTENT, changed={"acl": "public-read"})

    address = f"{created['meta']['upload_url']}/{policy_of(created)['key']}"
    async with client.session.get(address) as answer:
        assert answer.status == 403


async def test_a_session_token_is_a_field_and_a_condition_that_is_signed(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, bucket: "S3Client"
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token-of-the-tests")
    service = await start_service()
    created = await service.client.create()
    row = await service.row(created["data"]["id"])
    seaweedfs = service.stack.seaweedfs
    credentials = Credentials(
        access_key=seaweedfs.access_key_id,
        secret_key=seaweedfs.secret_access_key,
        token="session-token-of-the-tests",
    )

    def signed_with(credentials: Credentials) -> dict[str, str]:
        return post_policy(
            bucket=BUCKET,
            key=row.key,
            region=seaweedfs.region,
            credentials=credentials,
            now=row.created_at,
            lifetime_s=3600,
            max_bytes=service.settings.max_size,
            content_type=None,
        )

    fields = policy_of(created)
    assert fields["x-amz-security-token"] == "session-token-of-the-tests"
    assert fields == signed_with(credentials)
    without = signed_with(replace(credentials, token=None))
    assert fields["x-amz-signature"] != without["x-amz-signature"]
    # SeaweedFS has no session tokens. But it compares every form field with the policy, also
    # `x-amz-security-token`.
    for other in ("another-token", None):
        await refusal(service.client, created, {"x-amz-security-token": other})
    assert await stored(bucket, BUCKET, row.key) is None
    status, answer = await service.client.post_file(created, CONTENT)
    assert status == 201, answer


async def test_no_request_but_a_copy_asks_the_store(start_service: StartService) -> None:
    # No process listens on port 9.
    service = await start_service(
        s3_endpoint_url="http://127.0.0.1:9", s3_public_url="https://uploads.example/drop"
    )
    client = service.client
    bulk = f"{MEDIA_TYPE}; ext=bulk"

    created = await client.create("img.png")
    path = f"{PATH}/{created['data']['id']}"
    many = await client.request(
        "POST",
        PATH,
        {"data": [body({"name": "a"})["data"]] * 3},
        headers={"Content-Type": bulk, "Accept": bulk},
    )
    assert created["meta"]["upload_url"] == "https://uploads.example/drop"
    assert many.status == 201
    assert (await client.request("GET", PATH)).document["meta"]["total_count"] == 4
    assert (await client.request("PATCH", path, body({"name": "b"}))).status == 200
    own = f"https://uploads.example/drop/{policy_of(created)['key']}"
    assert (await client.request("PATCH", path, body({"temp_url": own}))).status == 200
    # The API redirects to a `ready` file without a request to the store. In earlier states, it asks
    # the store for the object's age first.
    await service.execute("UPDATE attachments SET state = 'ready'")
    shown = await client.show(created["data"]["id"])
    async with client.session.get(shown["attributes"]["url"], allow_redirects=False) as file:
        assert file.status == 302
    assert (await client.request("DELETE", path)).status == 204

    # This PATCH requests a copy. The API must ask the store about the source, but the store does
    # not answer. So the API answers with 503.
    mine = (await client.create())["data"]["id"]
    elsewhere = "https://uploads.example/drop/uploads/a.pdf"
    answer = await client.request("PATCH", f"{PATH}/{mine}", body({"temp_url": elsewhere}))
    assert answer.status == 503
