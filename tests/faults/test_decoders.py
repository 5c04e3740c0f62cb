"""Faults of decoders: they die, hang, or are killed at every attempt for one file."""

import asyncio
import hashlib
import io
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
from PIL import Image

from shared.storage import Storage
from tests.data import images
from tests.support.decoders import has_begun, has_job
from tests.support.faults import (
    PHOTO,
    SOON,
    changed,
    decoders,
    is_whole,
    make_due,
    no_orphans,
    reaches,
)
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import Launch, StartWorker
from worker.decoding.pool import SPARES

pytestmark = pytest.mark.fault

POISON = images.encode(images.noise(331, 77), "JPEG")
UNSEALED_CHILD = """
import ctypes, os, signal, sys
from worker.decoding import child
make = child.make_thumbnail
def make_thumbnail(file, **named):
    result = make(file, **named)
    if (result.facts.width, result.facts.height) == (331, 77):
        {death}
    return result
child.make_thumbnail = make_thumbnail
from worker.decoding import zygote
zygote.main(int(sys.argv[1]))
"""
SUSCEPTIBLE = """
import subprocess, sys
from worker.decoding import children
child = {child!r}
popen = subprocess.Popen
def start(words, **named):
    changed = [sys.executable, "-I", "-c", child, words[-1], *words[3:4]]
    return popen(changed, **named)
class Changed:
    Popen, DEVNULL = staticmethod(start), subprocess.DEVNULL
children.subprocess = Changed
"""


def fresh(worker: WorkerProcess) -> list[psutil.Process]:
    """Return the decoders of a worker that have had no job yet."""
    return [child for child in decoders(worker) if not has_begun(child)]


def waits_for_job(worker: WorkerProcess, killed: set[psutil.Process]) -> bool:
    """Return True if the worker has exactly one new decoder, which has started and sleeps.

    Only then may the caller suspend this decoder. If it were suspended during its start, the worker
    would use another one. The processes in `killed` are left out, because killed processes remain
    listed for a moment.
    """
    with suppress(psutil.NoSuchProcess):
        states = [child.status() for child in fresh(worker) if child not in killed]
        return states == [psutil.STATUS_SLEEPING]
    return False


async def kill_busy(worker: WorkerProcess) -> None:
    """Wait until a decoder has a job. Then kill the decoders that the test has suspended.

    Other decoders are not killed: a new one may already measure the same file.
    """
    await until(lambda: asyncio.sleep(0, has_job(worker.pid)))
    for child in decoders(worker):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_STOPPED:
                child.kill()


async def test_f4_an_upload_whose_decoder_dies_is_tried_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, **SOON)
    for child in decoders(worker):
        child.suspend()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await kill_busy(worker)
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "decoder_died"
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "ready")
    assert row.attempt == 2
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f4_one_whose_decoder_always_dies_is_kept_and_measured_in_the_end(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, attempts="2", decoders="1", **SOON)
    attachment_id = ""
    for attempt in (1, 2):
        killed = set(decoders(worker))
        for child in killed:
            child.kill()
        await until(lambda: asyncio.sleep(0, waits_for_job(worker, killed)))  # noqa: B023 - awaited here
        for child in set(decoders(worker)) - killed:
            child.suspend()
        if attempt == 1:
            attachment_id = await service.client.upload(PHOTO, "img.jpg")
        else:
            await make_due(service, attachment_id)
        await kill_busy(worker)
        await reaches(service, attachment_id, "uploaded", "ready", attempt=attempt)
        # Another upload is processed as usual, and makes the worker start a new decoder.
        other = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, other, "ready")
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("ready", "decoder_died", False)
    with Image.open(io.BytesIO(PHOTO)) as image:
        assert (row.width, row.height) == image.size
    assert (row.content_type, row.size) == ("image/jpeg", len(PHOTO))
    assert row.checksum_sha256 == hashlib.sha256(PHOTO).hexdigest()


async def test_f5_a_decoder_that_hangs_is_killed_and_frees_its_place(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, decoder_timeout="1", decoders="1")
    (child,) = decoders(worker)
    child.suspend()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await until(lambda: asyncio.sleep(0, not child.is_running()))
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
    # Another attempt is made, because the decoder's fault may have another cause than the file.
    row = await reaches(service, attachment_id, "ready", attempt=2)
    assert row.reason is None


@pytest.mark.parametrize(
    "death",
    ["ctypes.string_at(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"],
    ids=["SIGSEGV", "SIGKILL", "exit"],
)
async def test_f4_a_file_that_kills_every_decoder_has_no_thumbnail_after_five_attempts(
    service: Service, launch: Launch, storage: Storage, death: str
) -> None:
    child = UNSEALED_CHILD.format(death=death)
    program = changed(SUSCEPTIBLE.format(child=child), "worker")
    worker = await launch(WorkerProcess(service.environment, program=program, **SOON))
    poison = await service.client.upload(POISON, "poison.jpg")
    others: list[str] = []
    for attempt in range(1, 6):
        row = await reaches(service, poison, "uploaded", "ready", attempt=attempt)
        assert (row.state, row.reason) == ("ready" if attempt == 5 else "uploaded", "decoder_died")
        if attempt < 5:
            await make_due(service, poison)
        uploads = (service.client.upload(PHOTO, "img.jpg") for _ in range(4))
        others += await asyncio.gather(*uploads)
    assert not (await service.row(poison)).resized
    await no_orphans(service, storage, poison)
    for attachment_id in others:
        row = await reaches(service, attachment_id, "ready")
        assert (row.revision, row.attempt) == (1, 1)
        await is_whole(service, storage, attachment_id, PHOTO)
    resource = await service.client.show(poison)
    assert resource["meta"]["reason"]["code"] == "decoder_died"
    assert worker.process is not None
    assert worker.process.poll() is None
    await until(lambda: asyncio.sleep(0, worker.log().count("decoder died") == 5))
    assert len(decoders(worker)) <= 2 + SPARES
