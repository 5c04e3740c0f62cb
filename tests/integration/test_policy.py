"""The policies that we sign, held against a store that enforces them.

Where SeaweedFS is laxer than S3 the test says so: S3 refuses every form field that the policy does
not name (Amazon S3 API Reference, "POST Policy"), SeaweedFS only those that start with `x-amz-`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from api.parts import now
from shared.signing import Credentials, post_policy, sign_policy
from tests.support.resources import PATH, body, open_bucket, stored
from tests.support.service import MEDIA_TYPE, Client, Service
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CONTENT = b"the content of a file"


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client


@pytest_asyncio.fixture
async def client(running: Service) -> Client:
    """A caller whose files no worker waits for."""
    return await running.organization()


def policy_of(created: Any) -> dict[str, str]:
    """Give the form fields of a created attachment."""
    fields: dict[str, str] = created["data"]["attributes"]["aws_policy"]
    return fields


async def refusal(client: Client, created: Any, changed: Mapping[str, str | None]) -> str:
    """Post a file with changed fields; it must be refused. Returns the store's code."""
    status, answer = await client.post_file(created, CONTENT, changed=changed)
    assert status in (400, 403), answer
    return answer.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"content_type": "application/pdf"}, id="with a type"),
        pytest.param({"content_type": 'text/plain; charset="utf-8"'}, id="with type and parameter"),
        pytest.param({"name": "Übersicht (März).pdf"}, id="with an odd name"),
        pytest.param({"name": "${filename}"}, id="with S3's variable for a name"),
    ],
)
async def test_the_store_takes_a_file_under_the_policy_to_the_key(
    client: Client, bucket: "S3Client", attributes: dict[str, str]
) -> None:
    created = await client.create(**attributes)

    status, answer = await client.post_file(created, CONTENT)

    assert status == 201, answer
    assert await stored(bucket, BUCKET, policy_of(created)["key"]) == CONTENT


async def test_the_declared_type_is_stored_with_the_object(
    client: Client, bucket: "S3Client"
) -> None:
    created = await client.create(content_type="application/pdf")
    await client.post_file(created, CONTENT)

    answer = await bucket.head_object(Bucket=BUCKET, Key=policy_of(created)["key"])

    assert answer["ContentType"] == "application/pdf"


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        pytest.param(0, True, id="nothing"),
        pytest.param(100, True, id="the limit"),
        pytest.param(101, False, id="one byte more"),
        pytest.param(100_000, False, id="far more"),
    ],
)
async def test_the_store_takes_no_more_bytes_than_the_limit(
    start_service: StartService, bucket: "S3Client", size: int, taken: bool
) -> None:
    service = await start_service(max_size="100")
    created = await service.client.create()

    status, answer = await service.client.post_file(created, b"x" * size)

    assert (status == 201) is taken, answer
    assert (await stored(bucket, BUCKET, policy_of(created)["key"]) is not None) is taken
    if not taken:
        assert "<Code>EntityTooLarge</Code>" in answer


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("attachments/files/000/000/001/original/img.png", id="another attachment's"),
        pytest.param("elsewhere", id="one elsewhere"),
        pytest.param("{key}x", id="a longer one"),
        pytest.param("{key}/${{filename}}", id="one with the file's name"),
        pytest.param("/{key}", id="one with a slash in front"),
        pytest.param("a/../{key}", id="one that leads there"),
    ],
)
async def test_the_store_takes_no_other_key(client: Client, bucket: "S3Client", key: str) -> None:
    created = await client.create()
    own = policy_of(created)["key"]

    await refusal(client, created, {"key": key.format(key=own)})

    assert await stored(bucket, BUCKET, own) is None


FIELDS = (
    "key",
    "success_action_status",
    "Content-Type",
    "policy",
    "x-amz-credential",
    "x-amz-algorithm",
    "x-amz-date",
    "x-amz-signature",
)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        *((field, "altered") for field in FIELDS),
        # without a policy it is another kind of request: see the next test
        *((field, "left out") for field in FIELDS if field != "policy"),
    ],
)
async def test_the_store_takes_nothing_with_a_field_that_is(
    client: Client, bucket: "S3Client", field: str, change: str
) -> None:
    created = await client.create(content_type="image/png")
    fields = policy_of(created)
    assert set(fields) == set(FIELDS)
    value = fields[field]
    altered = value[:-1] + ("0" if value[-1] != "0" else "1")

    await refusal(client, created, {field: altered if change == "altered" else None})

    assert await stored(bucket, BUCKET, fields["key"]) is None


async def test_the_store_takes_nothing_without_a_policy(client: Client, bucket: "S3Client") -> None:
    created = await client.create()
    key = policy_of(created)["key"]

    await refusal(client, created, {**dict.fromkeys(policy_of(created)), "key": key})

    assert await stored(bucket, BUCKET, key) is None


async def test_the_store_takes_nothing_under_a_policy_of_our_own_making(
    client: Client, bucket: "S3Client"
) -> None:
    # as a client would that knows everything but the secret
    created = await client.create()
    fields = policy_of(created)
    date = fields["x-amz-date"][:8]
    signature = sign_policy(fields["policy"], "a guessed secret", date, "us-east-1")

    code = await refusal(client, created, {"x-amz-signature": signature})

    assert code == "SignatureDoesNotMatch"
    assert await stored(bucket, BUCKET, fields["key"]) is None


def signed_at(service: Service, created: Any, moment: datetime) -> dict[str, str]:
    """Sign the attachment's policy as the service would have at another time."""
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

    # and it was the time alone that was wrong
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
    # the same holds for `acl` and the like at S3; SeaweedFS 4.48 does not look at them, and has
    # no public objects either: see the next test
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
    # SeaweedFS knows no sessions, but holds the field to the policy as it does any other
    for other in ("another-token", None):
        await refusal(service.client, created, {"x-amz-security-token": other})
    assert await stored(bucket, BUCKET, row.key) is None
    status, answer = await service.client.post_file(created, CONTENT)
    assert status == 201, answer


async def test_no_request_but_a_copy_asks_the_store(start_service: StartService) -> None:
    # nothing listens on the discard port
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
    # Until a worker has looked, a link asks the store how old the object is.
    await service.execute("UPDATE attachments SET state = 'ready'")
    shown = await client.show(created["data"]["id"])
    async with client.session.get(shown["attributes"]["url"], allow_redirects=False) as file:
        assert file.status == 302
    assert (await client.request("DELETE", path)).status == 204

    # and a copy, which must ask it, says that it cannot for now
    mine = (await client.create())["data"]["id"]
    elsewhere = "https://uploads.example/drop/uploads/a.pdf"
    answer = await client.request("PATCH", f"{PATH}/{mine}", body({"temp_url": elsewhere}))
    assert answer.status == 503
