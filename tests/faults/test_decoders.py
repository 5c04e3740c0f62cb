"""Faults of decoders: dead, hanging, killed by every attempt at one file."""

import asyncio

import pytest

from shared.storage import Storage
from tests.conftest import StartWorker
from tests.faults.rows import PHOTO, SOON, decoders, is_whole, make_due, reaches
from tests.service import Service, until

pytestmark = pytest.mark.fault


async def test_f4_an_upload_whose_decoder_dies_is_tried_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, **SOON)
    for box in decoders(worker):
        box.kill()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "decoder_died"
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "ready")
    assert row.attempt == 2
    await is_whole(service, storage, attachment_id, PHOTO)


async def test_f4_one_whose_decoder_always_dies_has_failed_in_the_end(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, attempts="2", decoders="1", **SOON)
    attachment_id = ""
    for attempt in (1, 2):
        for box in decoders(worker):
            box.suspend()
        if attempt == 1:
            attachment_id = await service.client.upload(PHOTO, "img.jpg")
        else:
            await make_due(service, attachment_id)
        await reaches(service, attachment_id, "processing", attempt=attempt)
        await until(lambda: asyncio.sleep(0, len(decoders(worker)) == 1))
        for box in decoders(worker):
            box.kill()
        await reaches(service, attachment_id, "uploaded", "failed", attempt=attempt)
        # another upload is none the worse, and has a new decoder started
        other = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, other, "ready")
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("failed", "decoder_died", False)


async def test_f5_a_decoder_that_hangs_is_killed_and_frees_its_place(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, decoder_timeout="1", decoders="1")
    (box,) = decoders(worker)
    box.suspend()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "rejected")
    assert (row.reason, row.attempt) == ("decoder_timeout", 1)
    assert not box.is_running()
    await reaches(service, await service.client.upload(PHOTO, "img.jpg"), "ready")
