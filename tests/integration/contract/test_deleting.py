"""Tests of the contract: deletion, retention and the purge."""

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.attachments import LATE_UPLOAD_S
from tests.data.images import gradient_photo
from tests.support.resources import NOT_FOUND, PATH, body, stored, written
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def test_a_deleted_attachment_is_gone_at_once_from_everywhere(working: Service) -> None:
    client = await working.organization()
    attachment_id = await client.upload(
        gradient_photo(), "a.jpg", attachable_type="task", attachable_id=7
    )
    shown = await client.settled(attachment_id)
    path = f"{PATH}/{attachment_id}"

    answer = await client.request("DELETE", path)

    assert answer.status == 204
    assert answer.body == b""
    assert "Content-Type" not in answer.headers
    for method, document in (("GET", None), ("PATCH", body({"name": "x"})), ("DELETE", None)):
        again = await client.request(method, path, document)
        assert again.status == 404
        assert written(again.document) == written(NOT_FOUND)
    for query in ("", "?filter[task_id]=7", "?page[after]="):
        assert (await client.request("GET", f"{PATH}{query}")).data == []
    for address in (shown["attributes"]["url"], shown["attributes"]["thumb"]):
        async with client.session.get(address, allow_redirects=False) as file:
            assert file.status == 404


async def test_the_row_is_kept_and_the_purge_waits_for_the_retention(
    start_service: StartService,
) -> None:
    service = await start_service(retention="86400")
    attachment_id = (await service.client.create())["data"]["id"]

    await service.client.request("DELETE", f"{PATH}/{attachment_id}")

    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at == row.deleted_at + timedelta(days=1)


async def test_without_retention_the_purge_still_waits_for_late_uploads(
    start_service: StartService,
) -> None:
    service = await start_service(retention="0")
    attachment_id = (await service.client.create())["data"]["id"]

    await service.client.request("DELETE", f"{PATH}/{attachment_id}")

    row = await service.row(attachment_id)
    assert row.due_at == row.policy_expires_at + timedelta(seconds=LATE_UPLOAD_S)


async def test_a_deleted_attachments_objects_are_purged_by_a_worker(
    start_service: StartService, start_worker: StartWorker, bucket: "S3Client"
) -> None:
    service = await start_service(retention="0")
    await start_worker(service, sweep_interval="0.1")
    client = service.client
    attachment_id = await client.upload(gradient_photo(), "a.jpg")
    kept_id = await client.upload(gradient_photo(), "kept.jpg")
    await client.settled(attachment_id)
    await client.settled(kept_id)
    row, kept = await service.row(attachment_id), await service.row(kept_id)
    assert row.thumbnail_key is not None
    assert await stored(bucket, BUCKET, row.thumbnail_key) is not None
    await client.request("DELETE", f"{PATH}/{attachment_id}")

    # The policy would expire in an hour, so the test moves its expiry into the past.
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        row.id,
    )

    async def purged() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(purged)
    assert await stored(bucket, BUCKET, row.key) is None
    assert await stored(bucket, BUCKET, row.thumbnail_key) is None
    assert (await service.row(attachment_id)).deleted_at is not None
    assert await stored(bucket, BUCKET, kept.key) == gradient_photo()
