"""Tests of the contract: a `temp_url` that names another object, which is copied or refused."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.data.images import gradient_photo
from tests.support.resources import PATH, body, invalid, patch, stored, written
from tests.support.service import MEDIA_TYPE, Service
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF\n"
SAMPLE_KEY = "uploads/1418301662608/dummyfile.pdf"
SHARED_BUCKET = "shared-uploads"


def refused(detail: str, url: str, pointer: str = "data/attributes/temp_url") -> dict[str, Any]:
    """Return the expected error document for a refused `temp_url`."""
    return {"errors": [invalid(pointer, detail, {"value": url})]}


async def test_the_contracts_sample_is_copied_and_processed(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key=SAMPLE_KEY, Body=PDF)
    client = working.client
    attachment_id = (await client.create("dummyfile.pdf"))["data"]["id"]
    url = f"https://s3.amazonaws.com/{BUCKET}/{SAMPLE_KEY}"

    answer = await patch(client, attachment_id, {"temp_url": url})

    assert answer.status == 200
    assert answer.data["attributes"]["temp_url"] == url
    assert answer.document["meta"] == {}
    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["content_type"] == "application/pdf"
    assert shown["attributes"]["size"] == len(PDF)
    assert shown["attributes"]["temp_url"] == url
    key = (await working.row(attachment_id)).key
    assert await stored(bucket, BUCKET, key) == PDF
    assert await stored(bucket, BUCKET, SAMPLE_KEY) == PDF


async def test_a_photo_elsewhere_in_the_bucket_gets_its_thumbnail(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key="uploads/a photo.jpg", Body=gradient_photo())
    client = working.client
    attachment_id = (await client.create("photo.jpg"))["data"]["id"]
    url = f"{working.settings.upload_url}/uploads%2Fa%20photo.jpg"

    await patch(client, attachment_id, {"temp_url": url})

    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["resized"] is True
    async with client.session.get(shown["attributes"]["thumb"]) as thumbnail:
        assert thumbnail.status == 200


async def test_a_temp_url_at_creation_takes_the_object_over(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key="uploads/early.pdf", Body=PDF)
    url = f"{working.settings.upload_url}/uploads/early.pdf"

    created = await working.client.create("early.pdf", temp_url=url)

    assert created["data"]["attributes"]["temp_url"] == url
    assert created["data"]["attributes"]["aws_policy"]["key"].endswith("/original/early.pdf")
    shown = await working.client.settled(created["data"]["id"])
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(PDF)
    assert shown["attributes"]["temp_url"] == url


async def test_objects_of_allowed_buckets_are_taken_over_and_of_others_not(
    start_service: StartService, start_worker: StartWorker, bucket: "S3Client"
) -> None:
    service = await start_service(temp_url_buckets=SHARED_BUCKET)
    await start_worker(service)
    client = service.client
    for name in (SHARED_BUCKET, "private-uploads"):
        await bucket.create_bucket(Bucket=name)
        await bucket.put_object(Bucket=name, Key="in/box.pdf", Body=PDF)
    attachment_id = (await client.create("box.pdf"))["data"]["id"]
    store = service.stack.seaweedfs.url

    other = f"{store}/private-uploads/in/box.pdf"
    answer = await patch(client, attachment_id, {"temp_url": other})
    assert answer.status == 422
    assert answer.document == refused("is not an allowed location", other)
    assert (await client.show(attachment_id))["meta"]["state"] == "pending"

    answer = await patch(client, attachment_id, {"temp_url": f"{store}/{SHARED_BUCKET}/in/box.pdf"})
    assert answer.status == 200
    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(PDF)
    key = (await service.row(attachment_id)).key
    assert await stored(bucket, BUCKET, key) == PDF


# SeaweedFS treats the key a//b as the key a/b. So for SeaweedFS, the fourth and the fifth address
# below name the same object as the first.
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{upload_url}/{key}", id="as it is"),
        pytest.param("{upload_url}/{encoded}", id="with %2F"),
        pytest.param("https://attachments-test.s3.amazonaws.com/{key}", id="virtual host"),
        pytest.param("{upload_url}//{key}", id="a slash in front"),
        pytest.param("{upload_url}/{doubled}", id="a slash twice"),
        pytest.param("{upload_url}/a/../{key}", id="through a folder and back"),
        pytest.param("{upload_url}/a/%2e%2e/{key}", id="through a folder and back, encoded"),
        pytest.param("{upload_url}/./{key}", id="a dot in front"),
        pytest.param("{upload_url}/{key}/", id="a slash behind"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_another_attachments_original_is_refused(
    working: Service, bucket: "S3Client", method: str, form: str
) -> None:
    theirs = await working.client.upload(b"a secret", "secret.txt")
    key = (await working.row(theirs)).key
    url = form.format(
        upload_url=working.settings.upload_url,
        key=key,
        encoded=quote(key, safe=""),
        doubled=key.replace("/", "//", 1),
    )
    other = await working.organization()

    if method == "POST":
        answer = await other.request("POST", PATH, body({"name": "a.txt", "temp_url": url}))
    else:
        mine = (await other.create("a.txt"))["data"]
        answer = await patch(other, mine["id"], {"temp_url": url})
        own_key = mine["attributes"]["aws_policy"]["key"]
        assert await stored(bucket, BUCKET, own_key) is None
        assert (await other.show(mine["id"]))["meta"]["state"] == "pending"

    assert answer.status == 422
    assert answer.document == refused("is not an allowed location", url)


async def test_an_object_that_is_not_there_is_refused(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    url = f"{service.settings.upload_url}/uploads/no-such-object"

    answer = await patch(service.client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert answer.document == refused("is not an existing object", url)
    assert (await service.client.show(attachment_id))["attributes"]["temp_url"] is None


async def test_an_object_over_the_limit_is_refused(
    start_service: StartService, bucket: "S3Client"
) -> None:
    service = await start_service(max_size="10")
    await bucket.put_object(Bucket=BUCKET, Key="uploads/eleven", Body=b"x" * 11)
    attachment_id = (await service.client.create())["data"]["id"]
    url = f"{service.settings.upload_url}/uploads/eleven"

    answer = await patch(service.client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert answer.document == refused("is too large (maximum is 10 bytes)", url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://evil.example/attachments-test/a", id="row47-other-host"),
        pytest.param(
            "https://s3.amazonaws.com/bucket/uploads/1418301662608/dummyfile.pdf",
            id="row47-other-bucket",
        ),
        pytest.param("http://169.254.169.254/latest/meta-data/", id="row47-metadata-of-a-cloud"),
        pytest.param("http://[::ffff:10.0.0.1]/attachments-test/a", id="row47-mapped-address"),
        pytest.param("file:///etc/passwd", id="row47-file"),
        pytest.param("s3://attachments-test/a", id="row47-s3-scheme"),
        pytest.param(
            "https://attachments-test.s3.amazonaws.com@evil.example/a", id="row47-user-in-front"
        ),
        pytest.param(
            "https://attachments-test.s3.amazonaws.com.evil.example/a", id="row47-longer-host"
        ),
        pytest.param("no address", id="row47-no-address"),
    ],
)
async def test_any_other_temp_url_is_refused(running: Service, url: str) -> None:
    client = await running.organization()
    attachment_id = (await client.create())["data"]["id"]

    answer = await patch(client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert written(answer.document) == written(refused("is not an allowed location", url))
    assert (await client.show(attachment_id))["attributes"]["temp_url"] is None


async def test_each_refused_temp_url_of_many_is_reported(
    running: Service, bucket: "S3Client"
) -> None:
    client = await running.organization()
    await bucket.put_object(Bucket=BUCKET, Key="uploads/one.pdf", Body=PDF)
    base = f"{running.settings.upload_url}/uploads"
    urls = [f"{base}/one.pdf", f"{base}/missing-1", f"{base}/missing-2"]
    bulk = f"{MEDIA_TYPE}; ext=bulk"

    answer = await client.request(
        "POST",
        PATH,
        {"data": [body({"name": "a", "temp_url": url})["data"] for url in urls]},
        headers={"Content-Type": bulk, "Accept": bulk},
    )

    assert answer.status == 422
    assert answer.document == {
        "errors": [
            invalid(
                f"data/{place}/attributes/temp_url",
                "is not an existing object",
                {"value": urls[place]},
            )
            for place in (1, 2)
        ]
    }
    assert (await client.request("GET", PATH)).data == []
