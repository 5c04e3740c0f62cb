"""A worker opens no object before the scan. The tests run the worker in their own process."""

import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from shared import lifecycle
from shared.bucket_guard import BucketGuard
from shared.database import open_database
from shared.lifecycle import Claim
from shared.storage import Storage
from shared.stored_objects import StoredObject
from tests.data import images
from tests.support.clamd import MARKER, ClamdProcess, need_clamd
from tests.support.objects import opened_storage
from tests.support.service import Service
from tests.support.stack import Stack
from tests.support.starting import StartService
from worker.budget import Budget
from worker.decoding.decoders import Decoders
from worker.pipeline import process
from worker.scanning.scanner import KEPT_BYTES, Scanner
from worker.sniffing.sniffer import Read, Sniffed, Sniffers
from worker.tools import Tools

need_clamd()

PHOTO = images.encode(images.noise(300, 200), "JPEG")
LARGE = PHOTO + bytes(2 * KEPT_BYTES)


class WatchedSniffers(Sniffers):
    """Sniffers that record the first bytes of each file that they get."""

    def __init__(self) -> None:
        super().__init__(timeout_s=30)
        self.heads: list[bytes] = []

    async def identify(self, organization_id: int, head: bytes, size: int, read: Read) -> Sniffed:
        self.heads.append(head)
        return await super().identify(organization_id, head, size, read)


class SwappedStorage(Storage):
    """A store that replaces the object before the second read.

    It ignores `pin`, which names the object to read. So the worker gets the replacement.
    """

    def __init__(self, storage: Storage, replacement: bytes) -> None:
        super().__init__(storage._client, storage._session, storage.bucket)
        self._replacement: bytes | None = replacement
        self.reads = 0

    @asynccontextmanager
    async def read(
        self, key: str, *, start: int = 0, end: int, pin: StoredObject | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        self.reads += 1
        if self.reads == 2 and self._replacement is not None:
            await self.write(key, self._replacement, content_type="image/jpeg")
        async with super().read(key, start=start, end=end) as found:
            yield found


@asynccontextmanager
async def opened(
    stack: Stack,
    service: Service,
    body: bytes,
    change: Callable[[Storage], Storage] = lambda storage: storage,
) -> AsyncIterator[tuple[Tools, Claim, WatchedSniffers]]:
    """Upload a file and claim it. Yield a worker's tools, the claim, and the worker's sniffers.

    `change` may replace the worker's storage.
    """
    stack.relay.target = None  # so that no event changes the row
    attachment_id = await service.client.upload(body, name="img.jpg")
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = 1 WHERE id = $1", int(attachment_id)
    )
    async with AsyncExitStack() as exits:
        database = await exits.enter_async_context(open_database(service.settings))
        storage = await exits.enter_async_context(opened_storage(stack))
        decoders, sniffers = Decoders(1, timeout_s=30), WatchedSniffers()
        exits.push_async_callback(decoders.close)
        exits.push_async_callback(sniffers.close)
        tools = Tools(
            settings=service.settings,
            database=database,
            storage=change(storage),
            bucket=BucketGuard(database, storage),
            decoders=decoders,
            sniffers=sniffers,
            budget=Budget(2**28),
            scanner=Scanner(service.settings),
        )
        claim = await tools.database.run(lifecycle.claim, int(attachment_id), 1, lease_s=60.0)
        assert claim is not None
        yield tools, claim, sniffers


@pytest.mark.parametrize("body", [PHOTO + MARKER, LARGE + MARKER], ids=["small", "large"])
async def test_nothing_of_an_infected_file_is_opened(
    stack: Stack, clamd: ClamdProcess, start_service: StartService, body: bytes
) -> None:
    service = await start_service(clamd_url=clamd.url)
    async with opened(stack, service, body) as (tools, claim, sniffers):
        outcome = await process(tools, claim)
        assert (outcome.state, outcome.reason) == ("rejected", "infected")
        assert sniffers.heads == []


@pytest.mark.parametrize(("body", "reads"), [(PHOTO, 1), (LARGE, 2)], ids=["small", "large"])
async def test_row111_the_bytes_that_are_opened_are_those_that_were_scanned(
    stack: Stack, clamd: ClamdProcess, start_service: StartService, body: bytes, reads: int
) -> None:
    service = await start_service(clamd_url=clamd.url)
    infected = PHOTO[::-1] + bytes(2 * KEPT_BYTES) + MARKER
    swapped: list[SwappedStorage] = []

    def swap(storage: Storage) -> Storage:
        swapped.append(SwappedStorage(storage, infected))
        return swapped[0]

    async with opened(stack, service, body, swap) as (tools, claim, sniffers):
        outcome = await process(tools, claim)
        if reads == 1:  # the worker keeps a small file in memory after the first read
            assert outcome.facts.checksum_sha256 == hashlib.sha256(body).hexdigest()
            assert (outcome.state, swapped[0].reads, len(sniffers.heads)) == ("ready", 1, 1)
        else:
            assert outcome.facts.checksum_sha256 == hashlib.sha256(infected).hexdigest()
            assert (outcome.state, outcome.reason) == ("rejected", "infected")
            assert sniffers.heads == []


async def test_a_scan_holds_little_of_a_large_file_in_memory(
    stack: Stack, clamd: ClamdProcess, start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(clamd_url=clamd.url)
    body = bytes(24 * 1024 * 1024)
    async with opened(stack, service, body) as (tools, claim, _):
        assert tools.scanner is not None
        del body
        tracemalloc.start()
        try:
            async with tools.scanner.reading(tools.storage, claim.attachment) as (found, chunks):
                scanned = await tools.scanner.scan(claim.attachment, found, chunks)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (scanned.scan.verdict, scanned.content) == ("clean", None)
        assert scanned.checksum_sha256 is not None
        assert peak < 4 * 1024 * 1024
