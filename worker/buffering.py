"""Read an original: only its head, or all its bytes into a buffer. Find its checksum."""

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from shared.errors import ObjectChanged
from shared.storage import Storage
from shared.stored_objects import StoredObject
from worker.stages import measured
from worker.temporary import anonymous_file

HEAD_BYTES = 64 * 1024
"""Number of bytes that are read first. These bytes usually suffice to identify the type. The type
decides whether the rest is read."""

MEMORY_BYTES = 4 * 1024 * 1024
"""Largest size of a file, in bytes, that is buffered in memory. A larger one is buffered in an
unlinked file, which needs room in the budget: see `worker.budget`."""


async def read_head(chunks: AsyncIterator[bytes]) -> bytes:
    """Read at least HEAD_BYTES, or the whole object if it is smaller."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return bytes(head)


@asynccontextmanager
async def buffered(
    storage: Storage, key: str, found: StoredObject, head: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[tuple[BinaryIO, str]]:
    """Read the rest of an object after `head`; yield a file of all its bytes and their hex SHA-256.

    `chunks` has the bytes after `head` that the same request reads. If they are not all, another
    request reads the remaining bytes. Raises ObjectChanged if the store then has another object
    than `found`, and other StoreErrors.
    """
    digest = hashlib.sha256(head)
    in_memory = found.size <= MEMORY_BYTES
    with anonymous_file(in_memory=in_memory) as file:
        file.write(head)

        async def keep(chunk: bytes) -> None:
            digest.update(chunk)
            if in_memory:
                file.write(chunk)
            else:
                await asyncio.to_thread(file.write, chunk)

        with measured("read"):
            async for chunk in chunks:
                await keep(chunk)
            if (start := file.tell()) < found.size:
                async with storage.read(key, start=start, end=found.size, pin=found) as (_, rest):
                    async for chunk in rest:
                        await keep(chunk)
        yield file, digest.hexdigest()


async def read_checksum(storage: Storage, key: str, found: StoredObject, head: bytes) -> str | None:
    """Return an object's hex SHA-256 without a download; None if the store does not know it.

    If `head` is the whole object, the checksum is computed; otherwise the store is asked for it.
    Raises ObjectChanged if the store now has another object than `found`.
    """
    if len(head) == found.size:
        return hashlib.sha256(head).hexdigest()
    stored = await storage.head(key)
    if stored.etag != found.etag:
        raise ObjectChanged(key)
    return b64decode(stored.checksum_sha256).hex() if stored.checksum_sha256 else None
