"""A worker never holds a whole large file in memory (architecture.md, invariant 4)."""

import io

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from shared.storage import Storage
from tests.data import images
from tests.support.faults import PHOTO, is_whole, reaches
from tests.support.proxy import Proxy
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault

MIB = 1024 * 1024


@pytest.mark.parametrize("name", ["film.bin", "film.jpg"])
async def test_a_large_file_that_is_no_image_is_neither_downloaded_nor_held(
    service: Service, start_worker: StartWorker, storage: Storage, proxy: Proxy, name: str
) -> None:
    worker = await start_worker(service, s3_endpoint_url=proxy.url)
    process = psutil.Process(worker.pid)
    await reaches(service, await service.client.upload(b"some words\n" * 9000, name), "ready")
    before, received = process.memory_info().rss, proxy.received
    created = await service.client.create(name)
    row = await service.row(created["data"]["id"])
    size = 300 * MIB
    part, parts = 50 * MIB, []
    client = storage._client
    upload = await client.create_multipart_upload(Bucket=BUCKET, Key=row.key)
    for number in range(1, size // part + 1):
        answer = await client.upload_part(
            Bucket=BUCKET,
            Key=row.key,
            UploadId=upload["UploadId"],
            PartNumber=number,
            Body=io.BytesIO(bytes(part)),
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    await client.complete_multipart_upload(
        Bucket=BUCKET,
        Key=row.key,
        UploadId=upload["UploadId"],
        MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # made by hand
    )

    most = 0

    async def ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return (await service.row(row.id)).state == "ready"

    await until(ended, every_s=0.005, within_s=60)
    await storage.delete(row.key)
    assert (await service.row(row.id)).size == size
    assert most - before < 32 * MIB
    # `proxy.received` includes bytes in socket buffers that the worker does not need. If the file
    # is named like an image, the worker reads more of it before it knows the type.
    assert proxy.received - received < (20 * MIB if name.endswith("jpg") else 2 * MIB)


async def test_a_large_image_is_never_held_in_memory(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service)
    process = psutil.Process(worker.pid)
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
    before = process.memory_info().rss
    body = images.encode(images.tiled_noise(6000, 4000), "PNG", compress_level=0)
    assert len(body) > 32 * MIB
    created = await service.client.create("img.png")
    row = await service.row(created["data"]["id"])
    await storage._client.put_object(Bucket=BUCKET, Key=row.key, Body=io.BytesIO(body))
    most = 0

    async def ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return (await service.row(row.id)).state == "ready"

    await until(ended, every_s=0.005, within_s=60)
    await is_whole(service, storage, str(row.id), body)
    assert most - before < 32 * MIB
