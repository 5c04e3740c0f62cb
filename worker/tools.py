"""The parts that a worker opens once for all its uploads, such as the database and the decoders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from shared.bucket_guard import BucketGuard
from shared.database import Database, open_database
from shared.errors import BucketForeign
from shared.settings import Settings
from shared.storage import Storage
from shared.store_client import open_storage
from worker.budget import Budget
from worker.decoding.decoders import Decoders
from worker.scanning.scanner import Scanner
from worker.sniffing.sniffer import Sniffers

FIRST_LOOK_S = 2.0
"""Time, in seconds, for which a worker tries at its start to find out which deployment owns the
bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The open parts that processing an upload needs. If `scanner` is None, nothing is scanned."""

    settings: Settings
    database: Database
    storage: Storage
    bucket: BucketGuard
    decoders: Decoders
    sniffers: Sniffers
    budget: Budget
    scanner: Scanner | None = None


@asynccontextmanager
async def open_tools(settings: Settings) -> AsyncIterator[Tools]:
    """Open the parts and start the child processes; close them in reverse order after the block."""
    must_be_sealed = settings.decoder_seal == "required"
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        storage = await stack.enter_async_context(
            open_storage(settings, connections=settings.concurrency + 8)
        )
        decoders = Decoders(
            settings.decoders,
            timeout_s=settings.decoder_timeout,
            more=settings.more_formats,
            must_be_sealed=must_be_sealed,
            isolated=settings.decoder_isolation == "organization",
            edges=tuple(settings.edges.values()),
        )
        stack.push_async_callback(decoders.close)
        sniffers = Sniffers(timeout_s=settings.decoder_timeout, must_be_sealed=must_be_sealed)
        stack.push_async_callback(sniffers.close)
        bucket = BucketGuard(database, storage)
        await asyncio.gather(decoders.warm_up(), sniffers.warm_up(), _look_at(bucket))
        yield Tools(
            settings=settings,
            database=database,
            storage=storage,
            bucket=bucket,
            decoders=decoders,
            sniffers=sniffers,
            budget=Budget(settings.buffer_bytes),
            scanner=Scanner(settings) if settings.clamd is not None else None,
        )


async def _look_at(bucket: BucketGuard) -> None:
    """Find the bucket's owner within FIRST_LOOK_S. If that fails, `watch` finds the owner later."""
    with suppress(BucketForeign):
        await bucket.at_start(within_s=FIRST_LOOK_S)
