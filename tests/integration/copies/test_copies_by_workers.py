"""Copies of large objects, which a worker makes after the API's answer."""

from typing import TYPE_CHECKING

import pytest

from shared.lifecycle import COPY_ATTEMPTS
from tests.data.images import gradient_photo
from tests.support.copies import PATH, copied, source
from tests.support.log_lines import named
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.mark.usefixtures("all_are_large")
async def test_a_large_source_is_copied_by_a_worker_after_the_answer(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "large.jpg", gradient_photo())
    document = {"data": {"type": "attachments", "attributes": {"name": "a.jpg", "temp_url": url}}}
    created = await service.client.request(
        "POST", PATH, document, headers={"X-Request-Id": "order-7"}
    )
    resource = created.data
    assert resource["attributes"]["temp_url"] == url
    assert resource["meta"]["state"] == "pending"
    row = await service.row(resource["id"])
    assert (row.copy_bucket, row.copy_key) == (BUCKET, "uploads/large.jpg")
    # The row becomes due so late that only the wake-up can start the copy.
    worker = await start_worker(service, publish_grace="1")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    assert done["attributes"]["temp_url"] == url
    row = await service.row(resource["id"])
    assert (row.copy_key, row.copy_attempt % COPY_ATTEMPTS) == (None, 1)
    assert await worker.stop() == 0
    (line,) = named(worker.log(), "copied")
    assert line["seconds"]["copy"] > 0
    (processed,) = named(worker.log(), "processed")
    assert (line["revision"], processed["revision"]) == (0, 1)
    for each in (line, processed):
        assert each["request_id"] == "order-7"
        assert each["organization"] == service.client.organization_id
        assert each["attachment"] == int(resource["id"])
        assert each["size"] == len(gradient_photo())


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("then", ["deleted", "replaced"])
async def test_a_source_that_is_gone_when_the_worker_comes_is_source_missing(
    service: Service, bucket: "S3Client", start_worker: StartWorker, then: str
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, f"{then}.jpg", gradient_photo())
    resource = await copied(service, url)
    if then == "deleted":
        await bucket.delete_object(Bucket=BUCKET, Key=f"uploads/{then}.jpg")
    else:
        await source(bucket, service, f"{then}.jpg", b"another")
    await service.execute("UPDATE attachments SET due_at = now()")
    await start_worker(service, sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "failed"
    assert done["meta"]["reason"]["code"] == "source_missing"


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("closing", ["uploads/in/{organization_id}/", "elsewhere/"])
async def test_a_worker_copies_nothing_from_a_place_that_was_closed_since(
    service: Service, bucket: "S3Client", start_worker: StartWorker, closing: str
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "closed.jpg", gradient_photo())
    resource = await copied(service, url)
    await service.execute("UPDATE attachments SET due_at = now()")
    await start_worker(service, sweep_interval="0.5", temp_url_buckets=f"{BUCKET}/{closing}")
    done = await service.client.settled(resource["id"])
    assert (done["meta"]["state"], done["meta"]["reason"]["code"]) == ("failed", "copy_failed")
    listed = await bucket.list_objects_v2(
        Bucket=BUCKET, Prefix=(await service.row(resource["id"])).key
    )
    assert listed["KeyCount"] == 0


@pytest.mark.usefixtures("all_are_large")
async def test_a_copy_by_a_worker_has_the_type_of_the_public_mode(
    start_service: StartService, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service = await start_service(files_public="true", files_url="https://files.example")
    key = "uploads/page.jpg"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=gradient_photo(), ContentType="text/html")
    url = f"{service.settings.upload_url}/{key}"
    resource = await copied(service, url, "page.jpg")
    await start_worker(service, publish_grace="1", sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(resource["id"])).key)
    assert found["ContentType"] == "image/jpeg"


@pytest.mark.usefixtures("all_are_large")
async def test_a_newer_upload_is_not_overwritten_by_an_older_copy(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    url = await source(bucket, service, "older.jpg", b"older")
    created = await service.client.create("photo.jpg", temp_url=url)
    attachment_id = created["data"]["id"]
    status, _ = await service.client.post_file(created, gradient_photo())
    assert status == 201

    async def uploaded() -> bool:
        return (await service.row(attachment_id)).state == "uploaded"

    await until(uploaded)
    await start_worker(service, sweep_interval="0.5")
    await service.client.settled(attachment_id)
    await service.execute("UPDATE attachments SET due_at = now()")

    async def dropped() -> bool:
        return (await service.row(attachment_id)).copy_key is None

    await until(dropped)
    found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(attachment_id)).key)
    assert found["ContentLength"] == len(gradient_photo())
