"""Disguised, broken and malicious files (limits.md, rows 67 to 89).

These tests do more than upload one file. The tests that only upload one are in
`test_hostile_files.py`.
"""

import asyncio
import hashlib
import io
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from shared.storage import Storage
from tests.data import images, odd_images
from tests.data.costly_images import progressive_scans
from tests.data.locked import multiplying
from tests.data.metadata import mpo
from tests.data.seeds import seed
from tests.support.batches import (
    follow,
    is_without_thumbnail,
    outcome,
    settle_all,
    upload_all,
    worker_of,
)
from tests.support.decoders import has_job
from tests.support.faults import SOON, decoders, is_whole, make_due, posted, reaches
from tests.support.objects import exists, opened_storage, store_proxy
from tests.support.service import Service, until
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker
from worker.buffering import HEAD_BYTES

MIB = 1024 * 1024
TOLERANCE = 8
"""A colour value may differ by at most this much after lossy compression or a conversion."""


@pytest_asyncio.fixture(scope="module")
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the service."""
    async with opened_storage(stack) as opened:
        yield opened


async def thumbnail_of(service: Service, resource: Any) -> Image.Image:
    """Fetch the thumbnail of an attachment, and return it as an image."""
    assert outcome(resource) == ("ready", None)
    assert resource["attributes"]["resized"] is True
    body = (await follow(service.client, resource["attributes"]["thumb"])).body
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def are_close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    """Return True if all colour values differ by at most TOLERANCE."""
    return all(
        abs(one - other) <= TOLERANCE
        for pixel, other_pixel in zip(found, wanted, strict=True)
        for one, other in zip(pixel, other_pixel, strict=True)
    )


@pytest.mark.parametrize("name", ["film.bin", "film.png"])
async def test_row68_an_object_beyond_the_policy_is_rejected_before_it_is_downloaded(
    start_service: StartService, start_worker: StartWorker, storage: Storage, name: str
) -> None:
    service = await start_service(max_size="1000")
    created = await service.client.create(name)
    attachment_id = created["data"]["id"]
    body = b"\x89PNG\r\n\x1a\n" + bytes(40 * MIB)
    status, _ = await service.client.post_file(created, body[:5000])
    assert status != 201  # the uploaded file is larger than its policy allows
    async with store_proxy(service.stack) as proxy:
        await start_worker(service, s3_endpoint_url=proxy.url)
        key = created["data"]["attributes"]["aws_policy"]["key"]
        await storage.write(key, body, content_type="image/png")
        resource = await service.client.settled(attachment_id)
        assert outcome(resource) == ("rejected", "too_large")
        assert resource["attributes"]["size"] == len(body)
        assert is_without_thumbnail(resource)
        assert 0 < proxy.received < len(body) // 2
        if name == "film.bin":
            assert proxy.received < 2 * MIB + HEAD_BYTES


async def test_files_that_a_desktop_runs_are_never_served_even_during_reprocessing(
    working: Service,
) -> None:
    client = working.client
    attachment_id = await client.upload(images.ELF, "holiday.jpg", content_type="image/jpeg")
    resource = await client.settled(attachment_id)
    assert outcome(resource) == ("rejected", "reserved_type")
    url = resource["attributes"]["url"]
    assert (await follow(client, url)).status == 404
    await working.execute(
        "UPDATE attachments SET state = 'uploaded', reason = NULL, revision = revision + 1"
        " WHERE id = $1",
        int(attachment_id),
    )
    assert (await follow(client, url)).status == 404


async def test_row72_the_decoded_part_of_a_damaged_picture_is_shown_and_the_file_is_served(
    working: Service,
) -> None:
    drawn = images.quadrants(640, 480)
    whole = {kind: images.encode(drawn, kind) for kind in ("JPEG", "PNG")}
    files = [
        ("cut.jpg", whole["JPEG"][: len(whole["JPEG"]) * 3 // 4], "damaged"),
        ("no-end.jpg", whole["JPEG"][:-2], "damaged"),
        ("cut.png", whole["PNG"][: len(whole["PNG"]) * 3 // 4], "damaged"),
        ("no-end.png", whole["PNG"][:-12], "damaged"),
        ("blank.png", whole["PNG"] + bytes(512), None),
    ]
    ids = await upload_all(working, [(name, body) for name, body, _ in files])
    assert not await settle_all(working, ids)
    for attachment_id, (_, body, reason) in zip(ids, files, strict=True):
        resource = await working.client.show(attachment_id)
        assert outcome(resource) == ("ready", reason)
        assert resource["attributes"]["resized"] is True
        assert (resource["meta"]["width"], resource["meta"]["height"]) == (640, 480)
        assert resource["attributes"]["size"] == len(body)
        assert resource["meta"]["checksum_sha256"] == hashlib.sha256(body).hexdigest()
        thumbnail = await follow(working.client, resource["attributes"]["thumb"])
        upper = images.corners(Image.open(io.BytesIO(thumbnail.body)))[:2]
        assert are_close(upper, images.opaque(images.RED, images.GREEN))
        served = await follow(working.client, resource["attributes"]["url"])
        assert (served.body, served.disposition) == (body, "inline")


async def test_row74_bombs_are_refused_by_their_header_or_stopped_by_the_clock(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service()
    worker = await start_worker(service, decoder_timeout="0.5", decoders="1")
    for name, bomb, size in (
        ("img.jpg", progressive_scans(100, 14_000, components=1), (14_000, 14_000)),
        # The header of this PDF does not show that drawing its page is costly.
        ("form.pdf", multiplying(8), (None, None)),
    ):
        attachment_id = await service.client.upload(bomb, name)
        resource = await service.client.settled(attachment_id)
        assert outcome(resource) == ("ready", "too_expensive")
        assert is_without_thumbnail(resource)
        assert (resource["meta"]["width"], resource["meta"]["height"]) == size
        row = await service.row(attachment_id)
        assert (row.attempt, row.size) == (1, len(bomb))
        assert row.checksum_sha256 == hashlib.sha256(bomb).hexdigest()
        assert not await exists(storage, row.key.replace("/original/", "/thumb/"))
    good = await service.client.upload(images.photo(64, 48), "img.jpg")
    assert outcome(await service.client.settled(good)) == ("ready", None)
    assert worker_of(service).pid == worker.pid


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_row79_all_orientations_are_shown_upright(working: Service, kind: str) -> None:
    files = [(f"img.{kind.lower()}", images.oriented(number, kind)) for number in range(1, 9)]
    ids = await upload_all(working, files)
    assert not await settle_all(working, ids)
    for attachment_id in ids:
        resource = await working.client.show(attachment_id)
        thumbnail = await thumbnail_of(working, resource)
        assert (resource["meta"]["width"], resource["meta"]["height"]) == (120, 80)
        assert thumbnail.size == (120, 80)
        upright = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)
        assert are_close(images.corners(thumbnail), upright)
        assert thumbnail.getexif().get(0x0112) is None


async def test_row80_every_mode_becomes_srgb(working: Service) -> None:
    files = [(name, draw()) for name, (draw, _) in images.MODES.items()]
    ids = await upload_all(working, files)
    assert not await settle_all(working, ids)
    for attachment_id, (name, (_, wanted)) in zip(ids, images.MODES.items(), strict=True):
        resource = await working.client.show(attachment_id)
        thumbnail = await thumbnail_of(working, resource)
        assert thumbnail.mode in ("L", "LA", "P", "RGB", "RGBA"), name
        assert "icc_profile" not in thumbnail.info, name
        assert are_close(images.corners(thumbnail), wanted), name


async def test_row81_where_a_photo_was_taken_is_not_in_its_thumbnail(working: Service) -> None:
    kinds = ("JPEG", "PNG", "WEBP", "GIF")
    contents = [images.with_metadata(kind) for kind in kinds]
    ids = await upload_all(working, [("img", content) for content in contents])
    assert not await settle_all(working, ids)
    for content, attachment_id in zip(contents, ids, strict=True):
        assert images.SECRET.encode() in content
        resource = await working.client.show(attachment_id)
        thumbnail = await thumbnail_of(working, resource)
        assert not thumbnail.getexif()
        assert not thumbnail.info.keys() & {"exif", "xmp", "comment", "Comment", "icc_profile"}
        body = (await follow(working.client, resource["attributes"]["thumb"])).body
        assert images.SECRET.encode() not in body


@pytest.mark.parametrize(
    ("size", "wanted"), [((1, 20_000), (1, 320)), ((1, 1), (1, 1))], ids=["1×20000", "1×1"]
)
async def test_row82_an_image_of_one_column_has_a_thumbnail_of_one(
    working: Service, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    content = images.encode(Image.new("RGB", size, images.RED), "PNG")
    resource = await working.client.settled(await working.client.upload(content, "img.png"))
    assert (resource["meta"]["width"], resource["meta"]["height"]) == size
    assert (await thumbnail_of(working, resource)).size == wanted


async def test_row84_of_a_photo_of_two_images_the_first_is_shown(working: Service) -> None:
    resource = await working.client.settled(await working.client.upload(mpo(), "img.mpo"))
    assert resource["attributes"]["content_type"] == "image/jpeg"
    thumbnail = await thumbnail_of(working, resource)
    first = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)
    assert are_close(images.corners(thumbnail), first)


async def test_row86_a_decoder_that_crashes_on_a_heic_costs_neither_worker_nor_file(
    start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service()
    worker = await start_worker(service, more_formats="heic", decoders="1", **SOON)
    (victim,) = decoders(worker)
    victim.suspend()
    heic = seed("heic")
    attachment_id = await service.client.upload(heic, "img.heic")
    await until(lambda: asyncio.sleep(0, has_job(worker.pid)))
    victim.send_signal(signal.SIGSEGV)
    victim.resume()
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert (row.reason, row.resized) == ("decoder_died", False)
    assert not victim.is_running()
    next_one = await service.client.upload(seed("heic"), "img.heic")
    assert outcome(await service.client.settled(next_one)) == ("ready", None)
    await make_due(service, attachment_id)
    await reaches(service, attachment_id, "ready")
    assert worker_of(service).pid == worker.pid
    row = await service.row(attachment_id)
    assert (row.content_type, row.attempt, row.resized) == ("image/heic", 2, True)
    assert row.checksum_sha256 == hashlib.sha256(heic).hexdigest()
    assert row.thumbnail_key is not None
    assert await exists(storage, row.thumbnail_key)


async def test_row87_an_object_deleted_before_it_is_fetched_is_missing(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    """Test an object that is deleted before its event is sent.

    An object that is deleted during processing is fault F16: `tests/faults/test_store.py`.
    """
    row, event = await posted(service)
    await storage.delete(row.key)
    await start_worker(service, **SOON)
    service.stack.relay.target = service.base_url
    assert await service.stack.relay.post(event) in (200, 202, 204)
    resource = await service.client.settled(row.id)
    assert outcome(resource) == ("failed", "missing")
    assert is_without_thumbnail(resource)
    assert not await exists(storage, row.key.replace("/original/", "/thumb/"))


async def test_row88_an_object_replaced_while_it_is_fetched_is_processed_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    """Test a bad file that is replaced by a good one.

    A good file that is replaced by another good file is fault F16: `tests/faults/test_store.py`.
    """
    async with store_proxy(service.stack) as proxy:
        await start_worker(service, s3_endpoint_url=proxy.url, **SOON)
        proxy.hold()
        created = await service.client.create("img.jpg")
        attachment_id = created["data"]["id"]
        await service.client.post_file(created, odd_images.many_scans(510))
        await until(lambda: asyncio.sleep(0, proxy.held))
        good = images.encode(images.quadrants(), "JPEG")
        await service.client.post_file(created, good)

        async def sent() -> bool:
            return (await service.row(attachment_id)).revision == 2

        await until(sent)
        proxy.let_go()
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, good)
