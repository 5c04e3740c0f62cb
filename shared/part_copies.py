"""Copy large objects in parts, so that each request to the store ends within seconds.

S3 copies at most 5 GiB in one request, and does not answer before the copy ends. Source: Amazon S3
User Guide, "Copying an object using multipart upload" and "Amazon S3 multipart upload limits".
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from shared.errors import StoreError, StoreRefused
from shared.spellings import is_plain
from shared.storage import Storage
from shared.stored_objects import StoredObject

IN_ONE_BYTES = 512 * 1024 * 1024
"""The largest object that is copied by one request, in bytes."""

PART_BYTES = 256 * 1024 * 1024
MAX_PARTS = 10_000
"""S3's limit for the parts of one object. To stay below it, parts may be larger than PART_BYTES."""

UNKNOWN_CALL = "NotImplemented"


def plan(size: int, *, part_bytes: int = PART_BYTES) -> Iterator[tuple[int, int]]:
    """Split an object of `size` bytes into parts. Yield the first and the last byte of each part.

    All parts except the last have the same size, at least `part_bytes`. There are at most
    MAX_PARTS.
    """
    step = max(part_bytes, -(-size // MAX_PARTS))
    for first in range(0, size, step):
        yield first, min(first + step, size) - 1


async def copy_object(
    storage: Storage,
    key: str,
    *,
    source_bucket: str,
    source_key: str,
    pin: StoredObject,
    content_type: str | None = None,
) -> str:
    """Copy an object of any size to `key` inside the store. Return the copy's etag.

    A small object is copied by one request. If the store cannot copy parts, every object is copied
    by one request. A copy in parts first removes the unfinished parts of earlier copies to this
    key, so only one copy to a key may run at a time. Raises the errors of `Storage.copy`. May be
    repeated.
    """
    source: Any = {"source_bucket": source_bucket, "source_key": source_key, "pin": pin}
    if pin.size > IN_ONE_BYTES:
        await remove_unfinished(storage, key)
        try:
            return await _copy_parts(storage, key, content_type=content_type, **source)
        except StoreRefused as error:
            if str(error) != UNKNOWN_CALL:
                raise
    return await storage.copy(key, content_type=content_type, **source)


async def _copy_parts(
    storage: Storage,
    key: str,
    *,
    source_bucket: str,
    source_key: str,
    pin: StoredObject,
    content_type: str | None,
) -> str:
    if not is_plain(source_key):
        raise StoreRefused("the source key is not plain")
    upload_id = await storage.multipart.begin(key, content_type=content_type)
    try:
        parts: list[Any] = []
        for number, (first, last) in enumerate(plan(pin.size, part_bytes=PART_BYTES), 1):
            etag = await storage.multipart.copy(
                key,
                upload_id,
                number,
                source_bucket=source_bucket,
                source_key=source_key,
                pin=pin,
                first=first,
                last=last,
            )
            parts.append({"PartNumber": number, "ETag": etag})
        return await storage.multipart.end(key, upload_id, parts)
    except BaseException:
        with suppress(StoreError):  # the next copy or the attachment's purge removes the parts
            await storage.multipart.drop(key, upload_id)
        raise


async def remove_unfinished(storage: Storage, key: str) -> None:
    """Remove the parts of unfinished copies to `key`, which a killed worker leaves.

    Needs s3:ListBucketMultipartUploads and s3:AbortMultipartUpload. If the store refuses the
    requests, the parts stay; a lifecycle rule of the bucket for incomplete multipart uploads can
    remove them. May be repeated.
    """
    with suppress(StoreRefused):
        for upload_id in await storage.multipart.unfinished(key):
            await storage.multipart.drop(key, upload_id)
