"""Many decoders on one processor: files wait, and none is marked as faulty."""

import asyncio
import os
import struct
import sys
import zlib

import pytest

from tests.support.faults import SOON, changed
from tests.support.service import Service
from tests.support.service_processes import WorkerProcess
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault

FILES = 30
ONE_PROCESSOR = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"


def photo(width: int, height: int, seed: int) -> bytes:
    """Make a PNG that has few bytes, but is costly to decode because it has many pixels."""
    lines = bytearray()
    for number in range(height):
        lines += b"\x02" + bytes([(number * seed) % 7, number % 3, seed]) * width

    def chunk(name: bytes, body: bytes) -> bytes:
        code = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", code)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(lines), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
async def test_no_good_file_is_rejected_where_many_decoders_share_one_processor(
    service: Service, start_worker: StartWorker
) -> None:
    bodies = [photo(6000, 4000, seed) for seed in range(1, 4)]
    ids = await asyncio.gather(
        *(service.client.upload(bodies[number % 3], "img.png") for number in range(FILES))
    )
    worker = WorkerProcess(
        service.environment,
        program=changed(ONE_PROCESSOR, "worker"),
        decoders="48",
        decoder_timeout="2",
        attempts="1",
        **SOON,
    )
    try:
        await worker.start()
        assert os.sched_getaffinity(worker.pid) == {min(os.sched_getaffinity(0))}
        settled = await asyncio.gather(
            *(service.client.settled(each, within_s=240) for each in ids)
        )
    finally:
        worker.close()
    found = [(each["meta"]["state"], each["meta"].get("reason")) for each in settled]
    assert found == [("ready", None)] * FILES
    assert all(each["attributes"]["resized"] for each in settled)
