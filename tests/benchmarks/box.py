"""CPU time of a worker's sandbox and pipeline, compared with Pillow alone on the same bytes.

The measured CPU time contains everything that a worker does for an upload, from the first bytes to
a thumbnail that can be stored. The worker buffers the bytes, takes their SHA-256, finds the type by
libmagic, and exchanges the job and the answer with the decoder. The decoder decodes, shrinks and
encodes, and makes checks of the file that Pillow alone does not make.

If a decoder is replaced during the measurement, its CPU time is included. The CPU time for the
connections to the store, the database and the broker is not included; the benchmark `uploads`
includes it.

Pillow alone is measured in two ways. The first is the plain script of `uploads`, in which Pillow
chooses how far it shrinks a JPEG while decoding. The second is the service's own steps without a
sandbox. The difference between the worker's CPU time and the second way is the cost of the sandbox
and the pipeline.
"""

import io
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import uvloop
from rich.table import Table

from shared.attachments import Attachment
from shared.bucket_guard import BucketGuard
from shared.database import Database
from shared.lifecycle import Claim
from shared.settings import Settings
from shared.storage import Storage
from shared.stored_objects import StoredObject
from tests.benchmarks.photos import Photo, large_photo, small_photo
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.benchmarks.uploads import pillow_cpu_ms
from tests.support.service import make_settings
from worker.budget import Budget
from worker.decoding.decoders import Decoders
from worker.decoding.inside.images import make_thumbnail
from worker.pipeline import examine
from worker.sniffing.sniffer import Sniffers
from worker.tools import Tools

ROUNDS = 5
CHUNK_BYTES: Final = 128 * 1024
"""The size in bytes of the chunks that a store sends, as measured."""


class Shelf(Storage):
    """A store with one object in memory. Written objects are discarded."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._found = StoredObject(size=len(content), etag="e")

    @asynccontextmanager
    async def read(
        self, key: str, *, start: int = 0, end: int, pin: StoredObject | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Yield the object and its bytes in chunks."""
        yield self._found, self._chunks(start, min(end, len(self._content)))

    async def _chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, CHUNK_BYTES):
            yield self._content[at : min(at + CHUNK_BYTES, end)]

    async def write(
        self, key: str, body: bytes, *, content_type: str, cache_control: str = ""
    ) -> None:
        """Discard the bytes."""


class Consent(Database):
    """A database that does nothing, and answers that every claim of an upload is valid."""

    def __init__(self) -> None:
        pass

    async def run(self, *_args: Any, **_values: Any) -> Any:
        """Return True without running the statement."""
        return True


class OwnBucket(BucketGuard):
    """A guard that treats every bucket as the service's own."""

    async def require_known_ours(self) -> None:
        """Accept the bucket."""


async def run(site: Site) -> Table:
    """Measure all programs in turn, one upload at a time, because the machine may be busy."""
    table = make_table(
        "box: CPU of buffering, decoder and transport, for one upload",
        ["JPEG: compared with", "box and pipeline", "Pillow alone", "ratio", "aim"],
    )
    environment = site.stack.environment(site.database_url)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        for photo, times, aim in (
            (small_photo(), 100 if site.quick else 500, 1.5),
            (large_photo(), 20 if site.quick else 60, 1.1),
        ):
            rounds = [
                (
                    process.submit(sandbox_cpu_ms, photo, times, environment).result(),
                    process.submit(pillow_cpu_ms, photo.content, times).result(),
                    process.submit(steps_cpu_ms, photo.content, times).result(),
                )
                for _ in range(1 if site.quick else ROUNDS)
            ]
            sandboxed = f"{median(ours for ours, *_ in rounds):.2f} ms"
            for number, title in enumerate(("plain script", "our own steps"), 1):
                ratio = median(each[0] / each[number] for each in rounds)
                table.add_row(
                    f"{photo.name}: {title}",
                    sandboxed,
                    f"{median(each[number] for each in rounds):.2f} ms",
                    *at_most(ratio, aim),
                )
    return table


def steps_cpu_ms(content: bytes, times: int) -> float:
    """Make thumbnails as decoders do, but without a sandbox. Return the CPU ms of one thumbnail."""
    began = time.process_time()
    for _ in range(times):
        make_thumbnail(io.BytesIO(content))
    return 1000 * (time.process_time() - began) / times


def sandbox_cpu_ms(photo: Photo, times: int, environment: Mapping[str, str]) -> float:
    """Make thumbnails in a sandbox. Return the CPU ms for one thumbnail, over all processes."""
    return uvloop.run(_sandbox_cpu_ms(photo, times, make_settings(environment)))


async def _sandbox_cpu_ms(photo: Photo, times: int, settings: Settings) -> float:
    decoders = Decoders(1, timeout_s=settings.decoder_timeout)
    sniffers = Sniffers(timeout_s=settings.decoder_timeout)
    await decoders.warm_up()
    tools = Tools(
        settings=settings,
        database=Consent(),
        storage=Shelf(photo.content),
        bucket=OwnBucket(Consent(), Shelf(b"")),
        decoders=decoders,
        sniffers=sniffers,
        budget=Budget(2**20),
    )
    now = datetime.now(UTC)
    claim = Claim(
        attachment=Attachment(
            id=1,
            organization_id=1,
            bucket="b",
            name="photo.jpg",
            file_name="photo.jpg",
            created_at=now,
            policy_expires_at=now,
        )
    )
    try:
        for _ in range(5):
            outcome = await examine(tools, claim)
            assert outcome.thumbnail_name == "photo.jpg", outcome
        before = cpu_s(os.getpid())
        for _ in range(times):
            await examine(tools, claim)
        return 1000 * (cpu_s(os.getpid()) - before) / times
    finally:
        await decoders.close()
        await sniffers.close()
