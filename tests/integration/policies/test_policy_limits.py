"""Policies at a store, which enforces their limits: key, size, type and fields."""

from typing import TYPE_CHECKING

import pytest

from shared.signing import sign_policy
from tests.support.policies import CONTENT, policy_of, refusal
from tests.support.resources import stored
from tests.support.service import Client
from tests.support.stack import BUCKET
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


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
        # The next test sends requests without a policy, which a store checks by other rules.
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
    # The test acts as a client that knows everything except the secret key of the store.
    created = await client.create()
    fields = policy_of(created)
    date = fields["x-amz-date"][:8]
    signature = sign_policy(fields["policy"], "a guessed secret", date, "us-east-1")

    code = await refusal(client, created, {"x-amz-signature": signature})

    assert code == "SignatureDoesNotMatch"
    assert await stored(bucket, BUCKET, fields["key"]) is None
