"""The worker's pipeline in the test's process, with real servers: faults and replaced objects."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from shared import lifecycle
from shared.bucket_guard import BucketGuard
from shared.database import open_database
from shared.errors import DecoderFault, ObjectEmpty
from shared.storage import Storage
from shared.stored_objects import StoredObject
from tests.data import images
from tests.support.objects import exists, opened_storage
from tests.support.service import Service
from tests.support.stack import Stack
from worker.budget import Budget
from worker.decoding.decoders import Decoders
from worker.pipeline import process
from worker.sniffing.sniffer import Read, Sniffed, Sniffers
from worker.tools import Tools


class ReplacingStorage(Storage):
    """A store that replaces an object when a read has found that the object is empty."""

    def __init__(self, storage: Storage, replacement: bytes) -> None:
        super().__init__(storage._client, storage._session, storage.bucket)
        self._replacement: bytes | None = replacement

    @asynccontextmanager
    async def read(
        self, key: str, *, start: int = 0, end: int, pin: StoredObject | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        try:
            async with super().read(key, start=start, end=end, pin=pin) as found:
                yield found
        except ObjectEmpty:
            body, self._replacement = self._replacement, None
            if body is not None:
                await self.write(key, body, content_type="image/png")
            raise


class DyingSniffers(Sniffers):
    """Sniffers that fail for every file, as if their process had died."""

    async def identify(self, organization_id: int, head: bytes, size: int, read: Read) -> Sniffed:
        raise DecoderFault("decoder_died")


async def test_a_file_that_no_attempt_can_identify_is_kept_as_bytes(
    stack: Stack, service: Service
) -> None:
    stack.relay.target = None  # drop the store's event, which would change the row
    body = b"what kills whoever looks at it"
    attachment_id = await service.client.upload(body, name="img.png")
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = 1, content_type = 'image/png'"
        " WHERE id = $1",
        int(attachment_id),
    )
    async with AsyncExitStack() as exits:
        database = await exits.enter_async_context(open_database(service.settings))
        storage = await exits.enter_async_context(opened_storage(stack))
        tools = Tools(
            settings=service.settings,
            database=database,
            storage=storage,
            bucket=BucketGuard(database, storage),
            decoders=Decoders(1, timeout_s=30),
            sniffers=DyingSniffers(timeout_s=30),
            budget=Budget(2**20),
        )
        claim = await tools.database.run(lifecycle.claim, int(attachment_id), 1, lease_s=30.0)
        assert claim is not None
        with pytest.raises(DecoderFault):
            await process(tools, claim)
        last = service.settings.model_copy(update={"attempts": 1})
        await process(replace(tools, settings=last), claim)
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("ready", "decoder_died", False)
    assert (row.content_type, row.size) == ("application/octet-stream", len(body))
    assert row.checksum_sha256 == hashlib.sha256(body).hexdigest()
    assert row.carries_more


async def test_an_image_over_an_empty_object_is_not_described_as_empty(
    stack: Stack, service: Service
) -> None:
    stack.relay.target = None  # drop the store's event, which would change the row
    attachment_id = await service.client.upload(b"", name="img.png")
    etag = hashlib.md5(b"", usedforsecurity=False).hexdigest()
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = 1, etag = $2 WHERE id = $1",
        int(attachment_id),
        etag,
    )
    image = images.encode(images.quadrants(), "PNG")
    async with AsyncExitStack() as exits:
        storage = await exits.enter_async_context(opened_storage(stack))
        decoders = Decoders(1, timeout_s=30)
        exits.push_async_callback(decoders.close)
        sniffers = Sniffers(timeout_s=30)
        exits.push_async_callback(sniffers.close)
        database = await exits.enter_async_context(open_database(service.settings))
        tools = Tools(
            settings=service.settings,
            database=database,
            storage=ReplacingStorage(storage, image),
            bucket=BucketGuard(database, storage),
            decoders=decoders,
            sniffers=sniffers,
            budget=Budget(2**20),
        )
        claim = await tools.database.run(lifecycle.claim, int(attachment_id), 1, lease_s=30.0)
        assert claim is not None

        await process(tools, claim)

        row = await service.row(attachment_id)
        assert (row.state, row.content_type, row.resized) == ("ready", "image/png", True)
        assert (row.size, row.width, row.height) == (len(image), 120, 80)
        assert row.etag == hashlib.md5(image, usedforsecurity=False).hexdigest()
        assert row.checksum_sha256 == hashlib.sha256(image).hexdigest()
        assert row.thumbnail_key is not None
        assert await exists(storage, row.thumbnail_key)
