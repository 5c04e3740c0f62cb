"""Copies of objects that are so large that they are copied in parts."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.copies import is_copy
from tests.support.proxy import Link, Proxy
from tests.support.resources import PATH
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartWorker
from tests.support.worker_copies import Start, changed, objects, wanted

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.usefixtures("all_are_large")

MIB = 1024 * 1024


def is_second_part(link: object, data: bytes) -> bool:
    """Return True if `data`, a request to the store, asks it to copy part 2."""
    return is_copy(link, data) and b"partNumber=2" in data


IN_PARTS = changed(part_copies__IN_ONE_BYTES=5 * MIB, part_copies__PART_BYTES=5 * MIB)


async def test_a_large_object_is_copied_in_parts(
    quiet: Service, bucket: "S3Client", start: Start
) -> None:
    content = bytes(range(256)) * (12 * MIB // 256) + b"end"
    attachment_id = await wanted(quiet, bucket, "parts.bin", content)
    worker = await start(quiet, IN_PARTS, sweep_interval="0.5")
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(content)
    row = await quiet.row(attachment_id)
    assert row.etag is not None
    assert row.etag.endswith("-3")
    found = await bucket.get_object(Bucket=BUCKET, Key=row.key)
    assert await found["Body"].read() == content
    assert await objects(bucket, row.key) == [row.key]


async def test_a_source_that_changes_while_its_parts_are_copied_is_source_missing(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    attachment_id = await wanted(quiet, bucket, "changing.bin", bytes(12 * MIB))
    lost = asyncio.Event()

    def second_part(link: Link, data: bytes) -> bool:
        if not is_second_part(link, data):
            return False
        lost.set()
        return True

    proxy.lose(second_part)
    program = changed(
        part_copies__IN_ONE_BYTES=5 * MIB,
        part_copies__PART_BYTES=5 * MIB,
        copying__COPY_TIMEOUT_S=2,
    )
    worker = await start(quiet, program, sweep_interval="0.5")
    async with asyncio.timeout(20):
        await lost.wait()  # part 1 is copied now
    await bucket.put_object(Bucket=BUCKET, Key="uploads/changing.bin", Body=bytes(13 * MIB))
    proxy.let_go()
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["reason"]["code"] == "source_missing"
    assert await objects(bucket, (await quiet.row(attachment_id)).key) == []


@pytest.mark.parametrize("then", ["another worker", "deletion"])
async def test_parts_that_a_killed_worker_left_are_removed(
    quiet: Service,
    bucket: "S3Client",
    proxy: Proxy,
    start: Start,
    start_worker: StartWorker,
    then: str,
) -> None:
    attachment_id = await wanted(quiet, bucket, "left.bin", bytes(12 * MIB))
    key = (await quiet.row(attachment_id)).key
    proxy.lose(is_second_part)
    killed = await start(quiet, IN_PARTS, lease="2")

    async def begun() -> bool:
        return await objects(bucket, key) == [f"{key} (parts)"]

    await until(begun)
    killed.close()
    assert await begun()
    if then == "deletion":
        await quiet.client.request("DELETE", f"{PATH}/{attachment_id}")
        await quiet.execute("UPDATE attachments SET due_at = now()")
        await start_worker(quiet, sweep_interval="0.5")

        async def purged() -> bool:
            return (await quiet.row(attachment_id)).due_at is None

        await until(purged)
        assert await objects(bucket, key) == []
    else:
        proxy.let_go()
        worker = await start(quiet, IN_PARTS, sweep_interval="0.5")
        assert (await quiet.client.settled(attachment_id))["meta"]["state"] == "ready"
        worker.close()
        assert await objects(bucket, key) == [key]
