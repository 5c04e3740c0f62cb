"""Copies that a `temp_url` asks for: bounded by organization, and large ones made by workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from shared import copies, quotas
from shared.attachments import Attachment
from tests.acceptance.test_end_to_end import photo
from tests.conftest import StartService, StartWorker
from tests.resources import open_bucket
from tests.service import Service, until
from tests.stack import BUCKET, Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PATH = "/api/v2/attachments"


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every copy to workers."""
    monkeypatch.setattr("api.uploads.MAX_COPIED_AT_ONCE", 0)


async def source(bucket: "S3Client", service: Service, name: str, content: bytes) -> str:
    """Store an object to copy from; returns its address."""
    key = f"uploads/{name}"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"{service.settings.upload_url}/{key}"


async def copied(service: Service, url: str, name: str = "photo.jpg") -> Any:
    """Create an attachment from a source; returns its resource."""
    return (await service.client.create(name, temp_url=url))["data"]


@pytest.mark.usefixtures("all_are_large")
async def test_a_large_source_is_copied_by_a_worker_after_the_answer(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "large.jpg", photo())
    resource = await copied(service, url)
    assert resource["attributes"]["temp_url"] == url
    assert resource["meta"]["state"] == "pending"
    row = await service.row(resource["id"])
    assert (row.copy_bucket, row.copy_key) == (BUCKET, "uploads/large.jpg")
    await start_worker(service, publish_grace="1", sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    assert done["attributes"]["temp_url"] == url
    row = await service.row(resource["id"])
    assert (row.copy_key, row.copy_attempt % copies.ATTEMPTS) == (None, 1)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("then", ["deleted", "replaced"])
async def test_a_source_that_is_gone_when_the_worker_comes_is_source_missing(
    service: Service, bucket: "S3Client", start_worker: StartWorker, then: str
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, f"{then}.jpg", photo())
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
async def test_a_copy_by_a_worker_has_the_type_of_the_public_mode(
    start_service: StartService, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service = await start_service(files_public="true", files_url="https://files.example")
    key = "uploads/page.jpg"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=photo(), ContentType="text/html")
    url = f"{service.settings.upload_url}/{key}"
    resource = await copied(service, url, "page.jpg")
    await start_worker(service, publish_grace="1", sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(resource["id"])).key)
    assert found["ContentType"] == "image/jpeg"


async def test_a_copy_that_failed_counts_no_bytes(service: Service) -> None:
    assert (await service.client.request("GET", "/api/v2/usage")).status == 200
    row = await asked(service)

    async def used() -> Any:
        answer = await service.client.request("GET", "/api/v2/usage")
        return answer.data["attributes"]["bytes"]

    async with service.database.acquire() as connection:
        await connection.execute("UPDATE attachments SET promised_bytes = 1000")
        assert await used() == 1000
        claim = await copies.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        assert await copies.fail(connection, claim, reason="copy_failed")
        failed = await service.row(row.id)
        assert (failed.state, failed.counted_bytes) == ("failed", 0)
        assert await used() == 0
        assert not any((await quotas.recount(connection, row.organization_id)).values())


@pytest.mark.usefixtures("all_are_large")
async def test_a_newer_upload_is_not_overwritten_by_an_older_copy(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    url = await source(bucket, service, "older.jpg", b"older")
    created = await service.client.create("photo.jpg", temp_url=url)
    attachment_id = created["data"]["id"]
    status, _ = await service.client.post_file(created, photo())
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
    assert found["ContentLength"] == len(photo())


async def asked(service: Service, **changed: Any) -> Attachment:
    """Ask for a copy of what is not there."""
    created = await service.client.create("a.png")
    row = await service.row(created["data"]["id"])
    async with service.database.acquire() as connection:
        found = await copies.ask(
            connection, row, bucket=BUCKET, key="uploads/none", etag="e", temp_url="http://h/none",
            grace_s=0, **changed,
        )  # fmt: skip
    assert found is not None
    return found[0]


async def test_a_copy_is_claimed_by_one_and_fenced(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        claims = [
            await copies.claim(connection, row.id, None, lease_s=30),
            await copies.claim(connection, row.id, None, lease_s=30),
            await copies.claim(connection, row.id, row.copy_attempt, lease_s=30),
        ]
        assert [claim is not None for claim in claims] == [True, False, False]
        first = claims[0]
        assert first is not None
        assert await copies.renew(connection, first, lease_s=30)
        second = await copies.claim(connection, row.id, first.copy_attempt, lease_s=30)
        assert second is not None
        assert not await copies.renew(connection, first, lease_s=30)
        assert not await copies.finish(connection, first)
        assert not await copies.fail(connection, first, reason="copy_failed")
        again = await copies.ask(
            connection, row, bucket=BUCKET, key="b", etag="e", temp_url="http://h/b", grace_s=0
        )
        assert again is not None
        assert not await copies.finish(connection, second)
        third = await copies.claim(connection, row.id, None, lease_s=30)
        assert third is not None
        assert third.copy_key == "b"
        assert await copies.finish(connection, third)
        assert await copies.claim(connection, row.id, None, lease_s=30) is None


async def test_an_upload_in_work_takes_no_copy_by_a_worker(service: Service) -> None:
    created = await service.client.create("a.png")
    row = await service.row(created["data"]["id"])
    await service.execute("UPDATE attachments SET state = 'processing'")
    async with service.database.acquire() as connection:
        assert (
            await copies.ask(
                connection, row, bucket=BUCKET, key="b", etag="e", temp_url="t", grace_s=0
            )
            is None
        )


async def test_one_organizations_copies_leave_places_to_another(
    service: Service, bucket: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    held, release = 0, asyncio.Event()
    url = await source(bucket, service, "small.jpg", photo())
    other = await service.organization()

    async def copy(_parts: Any, row: Attachment, _source: Any) -> str:
        nonlocal held
        async with _parts.copies.turn(row.organization_id):
            if row.organization_id == service.client.organization_id:
                held += 1
                await release.wait()
            return "etag"

    monkeypatch.setattr("api.uploads._copy", copy)
    many = [asyncio.create_task(service.client.create("a.jpg", temp_url=url)) for _ in range(10)]

    async def full() -> bool:
        return held == 2

    await until(full)
    assert (await other.create("b.jpg", temp_url=url))["data"]["id"]
    assert held == 2
    release.set()
    await asyncio.gather(*many)
    assert held == 10
