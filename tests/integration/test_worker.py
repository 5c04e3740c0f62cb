"""A worker that processes uploads. Some objects are replaced or removed during the processing."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from shared.states import State
from shared.storage import Storage
from tests.data import images
from tests.support.log_lines import named
from tests.support.objects import content, exists, opened_storage
from tests.support.service import Client, Service, until
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the tests."""
    async with opened_storage(stack) as opened:
        yield opened


async def fetch(client: Client, url: str) -> bytes:
    """Return the bytes to which a link leads."""
    async with client.session.get(url) as answer:
        assert answer.status == 200, answer.status
        return await answer.read()


async def thumbnail(client: Client, resource: Any) -> Image.Image:
    """Return an attachment's thumbnail as an image."""
    image = Image.open(io.BytesIO(await fetch(client, resource["attributes"]["thumb"])))
    image.load()
    return image


def alike(image: Image.Image, colours: list[tuple[int, ...]]) -> bool:
    """Return True if an image's quadrants have these colours, within the error of lossy formats."""
    pairs = zip(images.corners(image), colours, strict=True)
    return all(
        abs(one - other) <= 6
        for found, wanted in pairs
        for one, other in zip(found, wanted, strict=True)
    )


async def overwrite(service: Service, created: Any, body: bytes, state: State = "ready") -> Any:
    """Upload another file with the same policy, and wait until the file has been processed."""
    row_id = created["data"]["id"]
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert (await service.client.post_file(created, body))[0] == 201

    async def described() -> bool:
        row = await service.row(row_id)
        return row.state == state and row.etag == etag

    await until(described, within_s=20)
    return await service.client.show(row_id)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
async def test_images_of_every_mode_have_thumbnails_that_show_them(
    working: Service, kind: str
) -> None:
    client = working.client
    names = [name for name in images.MODES if name.partition("-")[0] == kind]
    ids = await asyncio.gather(
        *(client.upload(images.MODES[name][0](), f"{name}.{kind}") for name in names)
    )
    for name, attachment_id in zip(names, ids, strict=True):
        body = images.MODES[name][0]()
        resource = await client.settled(attachment_id)
        attributes, meta = resource["attributes"], resource["meta"]
        assert (meta["state"], attributes["resized"]) == ("ready", True), name
        assert attributes["content_type"] == f"image/{kind}"
        assert attributes["size"] == len(body)
        assert meta["checksum_sha256"] == hashlib.sha256(body).hexdigest()
        assert (meta["width"], meta["height"]) == (120, 80)
        image = await thumbnail(client, resource)
        assert image.format == {"gif": "PNG"}.get(kind, kind.upper())
        assert alike(image, images.MODES[name][1]), name


async def test_row79_every_orientation_is_set_upright(working: Service) -> None:
    client = working.client
    ids = await asyncio.gather(
        *(
            client.upload(images.oriented(orientation, width=600, height=400), "img.jpg")
            for orientation in range(1, 9)
        )
    )
    for attachment_id in ids:
        resource = await client.settled(attachment_id)
        assert (resource["meta"]["width"], resource["meta"]["height"]) == (600, 400)
        image = await thumbnail(client, resource)
        assert image.size == (320, 213)
        assert alike(image, images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
async def test_no_metadata_is_published_by_a_thumbnail(
    working: Service, storage: Storage, kind: str
) -> None:
    client = working.client
    attachment_id = await client.upload(images.with_metadata(kind), f"img.{kind.lower()}")
    await client.settled(attachment_id)
    key = (await working.row(attachment_id)).thumbnail_key
    assert key is not None
    body = await content(storage, key)
    assert images.SECRET.encode() not in body
    assert not {"exif", "icc_profile", "comment"} & set(Image.open(io.BytesIO(body)).info)


@pytest.mark.parametrize(
    ("name", "drawn_as", "wanted"),
    [
        ("cat.gif", "GIF", "cat.png"),
        ("cat.GIF", "GIF", "cat.png"),
        ("cat", "GIF", "cat.png"),
        ("cat.tar.gif", "GIF", "cat.tar.png"),
        ("cat.jpg", "GIF", "cat.png"),
        ("cat.jpeg", "JPEG", "cat.jpeg"),
        ("cat.JPG", "JPEG", "cat.JPG"),
        ("cat.webp", "WEBP", "cat.webp"),
        ("cat.png", "PNG", "cat.png"),
        ("cat.png", "JPEG", "cat.png"),
        ("cat", "PNG", "cat"),
    ],
)
async def test_a_thumbnail_keeps_the_name_unless_its_format_is_another(
    working: Service, storage: Storage, name: str, drawn_as: str, wanted: str
) -> None:
    client = working.client
    body = images.encode(images.quadrants(), drawn_as)
    resource = await client.settled(await client.upload(body, name))
    row = await working.row(resource["id"])
    assert row.thumbnail_key is not None
    assert row.thumbnail_key.endswith(f"/thumb/{wanted}")
    assert await exists(storage, row.thumbnail_key)
    assert resource["attributes"]["thumb"].partition("?")[0].endswith(f"/thumb/{wanted}")


async def test_row88_an_upload_over_another_is_described_alone(working: Service) -> None:
    client = working.client
    created = await client.create("img.jpg")
    first, second = images.photo(800, 600, images.RED), images.photo(300, 500, images.BLUE)
    await client.post_file(created, first)
    before = await client.settled(created["data"]["id"])
    resource = await overwrite(working, created, second)
    assert (resource["meta"]["width"], resource["meta"]["height"]) == (300, 500)
    assert resource["attributes"]["size"] == len(second)
    assert resource["meta"]["checksum_sha256"] == hashlib.sha256(second).hexdigest()
    assert resource["meta"]["checksum_sha256"] != before["meta"]["checksum_sha256"]
    image = await thumbnail(client, resource)
    assert (image.size, alike(image, images.opaque(*[images.BLUE] * 4))) == ((192, 320), True)


@pytest.mark.parametrize(
    ("body", "state", "content_type"),
    [
        (b"only words\n", "ready", "text/plain; charset=utf-8"),
        (b"", "ready", "application/octet-stream"),
        (images.BATCH, "rejected", "text/x-msdos-batch"),
        (b"%PDF-1.7\n", "ready", "application/pdf"),
    ],
    ids=["text", "empty", "reserved", "damaged"],
)
async def test_a_thumbnail_goes_when_its_image_is_replaced_by_something_else(
    working: Service, storage: Storage, body: bytes, state: State, content_type: str
) -> None:
    client = working.client
    created = await client.create("img.jpg")
    await client.post_file(created, images.photo())
    await client.settled(created["data"]["id"])
    old = (await working.row(created["data"]["id"])).thumbnail_key
    assert old is not None
    assert await exists(storage, old)
    resource = await overwrite(working, created, body, state)
    assert resource["attributes"]["resized"] is False
    assert resource["attributes"]["content_type"] == content_type
    assert resource["attributes"]["size"] == len(body)
    row = await working.row(created["data"]["id"])
    assert (row.thumbnail_name, row.width, row.height) == (None, None, None)
    assert not await exists(storage, old)


async def test_an_image_of_another_format_leaves_no_second_thumbnail(
    working: Service, storage: Storage
) -> None:
    client = working.client
    created = await client.create("img.gif")
    # The content is a JPEG, although the name ends with .gif. The thumbnail keeps the name.
    await client.post_file(created, images.photo())
    await client.settled(created["data"]["id"])
    old = (await working.row(created["data"]["id"])).thumbnail_key
    assert old is not None
    assert old.endswith("/img.gif")
    await overwrite(working, created, images.MODES["gif"][0]())
    new = (await working.row(created["data"]["id"])).thumbnail_key
    assert new is not None
    assert new.endswith("/img.png")
    assert await exists(storage, new)
    assert not await exists(storage, old)


async def test_a_replaced_object_that_is_too_large_is_not_described_by_the_old_type(
    working: Service, storage: Storage
) -> None:
    client = working.client
    created = await client.create("img.jpg")
    await client.post_file(created, images.photo())
    attachment_id = created["data"]["id"]
    await client.settled(attachment_id)
    row = await working.row(attachment_id)
    limit = working.settings.max_size
    etag = await put_sparse(storage, row.key, limit + 1)

    async def described() -> bool:
        found = await working.row(attachment_id)
        return found.state == "rejected" and found.etag == etag

    await until(described, within_s=30)
    row = await working.row(attachment_id)
    assert (row.reason, row.size) == ("too_large", limit + 1)
    assert row.content_type == "application/octet-stream"
    await storage.delete(row.key)


async def put_sparse(storage: Storage, key: str, size: int) -> str:
    """Store a large object of zeros in parts, and return its etag."""
    client = storage._client
    upload = await client.create_multipart_upload(Bucket=storage.bucket, Key=key)
    parts, part = [], 64 * 1024 * 1024
    for number, start in enumerate(range(0, size, part), 1):
        answer = await client.upload_part(
            Bucket=storage.bucket,
            Key=key,
            UploadId=upload["UploadId"],
            PartNumber=number,
            Body=io.BytesIO(bytes(min(part, size - start))),
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    await client.complete_multipart_upload(
        Bucket=storage.bucket,
        Key=key,
        UploadId=upload["UploadId"],
        MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # made by hand
    )
    return (await storage.head(key)).etag


async def test_row87_an_object_that_is_gone_before_it_is_read_is_missing(
    service: Service, start_worker: Any, storage: Storage
) -> None:
    client = service.client
    attachment_id = await client.upload(images.photo(), "img.jpg")

    async def recorded() -> bool:
        return (await service.row(attachment_id)).state == "uploaded"

    await until(recorded)
    await storage.delete((await service.row(attachment_id)).key)
    worker = await start_worker(service)
    resource = await client.settled(attachment_id)
    assert resource["meta"]["state"] == "failed"
    assert resource["meta"]["reason"]["code"] == "missing"
    assert resource["attributes"]["resized"] is False
    await worker.stop()
    (line,) = named(worker.log(), "processed")
    assert (line["state"], line["reason"], line["size"]) == ("failed", "missing", None)
    assert "queued" in line["seconds"]


async def test_objects_of_a_deleted_row_are_purged_from_the_store(
    service: Service, start_worker: Any, storage: Storage
) -> None:
    client = service.client
    await start_worker(service, sweep_interval="0.2")
    attachment_id = await client.upload(images.photo(), "img.jpg")
    await client.settled(attachment_id)
    row = await service.row(attachment_id)
    assert row.thumbnail_key is not None
    answer = await client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
    assert answer.status in (200, 204)
    # The purge is not due before the retention and the policy are over.
    assert await exists(storage, row.key)
    await service.execute("UPDATE attachments SET due_at = now() WHERE id = $1", row.id)

    async def purged() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(purged)
    assert not await exists(storage, row.key)
    assert not await exists(storage, row.thumbnail_key)
