"""Running workers make posters of films, and read only a part of each film."""

import asyncio
import hashlib
import io

import pytest
from PIL import Image

from tests.data import films, images
from tests.support.batches import follow
from tests.support.proxy import Proxy
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker
from tests.support.thumbnails import are_close
from worker.posters import MAX_READ_BYTES

MIB = 1024 * 1024
FOUR_COLOURS = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)

FILMS = {
    "a.mp4": (films.film(rotation=-90), "video/mp4", (240, 320)),
    "a.mov": (films.film("mov"), "video/quicktime", (320, 240)),
    "a.3gp": (films.film("3gp"), "video/3gpp", (320, 240)),
    "a.webm": (films.film("webm", "libvpx"), "video/webm", (320, 240)),
    "a.mkv": (films.film("matroska"), "video/x-matroska", (320, 240)),
    "a.avi": (films.film("avi"), "video/x-msvideo", (320, 240)),
    "a.ts": (films.film("mpegts", "libx264"), "video/mp2t", (320, 240)),
}
"""Films that show four colours, with their types and the sizes of their upright pictures."""


async def test_films_have_posters_sizes_and_durations(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service, more_formats="video")
    client = service.client
    ids = await asyncio.gather(*(client.upload(body, name) for name, (body, *_) in FILMS.items()))
    for attachment_id, (name, (body, content_type, size)) in zip(ids, FILMS.items(), strict=True):
        resource = await client.settled(attachment_id)
        attributes, meta = resource["attributes"], resource["meta"]
        assert (meta["state"], meta.get("reason"), attributes["resized"]) == ("ready", None, True)
        assert (attributes["content_type"], attributes["size"]) == (content_type, len(body)), name
        assert (meta["width"], meta["height"]) == size, name
        assert meta["duration"] == pytest.approx(2, abs=0.15), name
        assert meta["thumbhash"]
        assert meta["checksum_sha256"] in (None, hashlib.sha256(body).hexdigest())
        served = await follow(client, attributes["thumb"])
        image = Image.open(io.BytesIO(served.body))
        assert image.size == size
        if name != "a.mp4":
            assert are_close(images.corners(image), FOUR_COLOURS), name


@pytest.mark.parametrize("where", ["end", "start"])
async def test_only_a_small_part_of_a_large_film_is_read(
    where: str, start_service: StartService, start_worker: StartWorker, proxy: Proxy
) -> None:
    service = await start_service()
    await start_worker(service, more_formats="video", s3_endpoint_url=proxy.url)
    if where == "end":
        content = b"".join(films.with_padding(films.film(), 70 * MIB))
    else:  # the padding is among the pictures, and no index refers to it
        content = films.film(options={"moov_size": "65536"}) + bytes(70 * MIB)
    before = proxy.received
    resource = await service.client.settled(await service.client.upload(content, "a.mp4"))
    attributes, meta = resource["attributes"], resource["meta"]
    assert (meta["state"], meta.get("reason"), attributes["resized"]) == ("ready", None, True)
    assert (meta["width"], meta["height"], meta["duration"]) == (320, 240, 2.0)
    # The count includes bytes that are still in the buffers of sockets, and the events.
    assert proxy.received - before < 4 * MIB < MAX_READ_BYTES


async def test_a_film_with_a_frame_that_is_too_long_is_read_up_to_the_limit(
    start_service: StartService, start_worker: StartWorker, proxy: Proxy
) -> None:
    service = await start_service()
    await start_worker(service, more_formats="video", s3_endpoint_url=proxy.url)
    start, padding, end = films.with_padding(films.film(), 70 * MIB)
    content = start + padding + films.with_first_frame(end, 60 * MIB)
    before = proxy.received
    attachment_id = await service.client.upload(content, "a.mp4")
    await service.client.settled(attachment_id)
    row = await service.row(attachment_id)
    assert (row.state, row.attempt, row.content_type) == ("ready", 1, "video/mp4")
    assert (row.width, row.height, row.duration) == (320, 240, 2.0)
    assert MAX_READ_BYTES - MIB < proxy.received - before < MAX_READ_BYTES + 2 * MIB


async def test_a_film_gets_no_poster_if_the_setting_does_not_name_video(working: Service) -> None:
    body = FILMS["a.mp4"][0]
    resource = await working.client.settled(await working.client.upload(body, "a.mp4"))
    attributes, meta = resource["attributes"], resource["meta"]
    assert (meta["state"], meta.get("reason"), attributes["resized"]) == ("ready", None, False)
    assert (meta["duration"], attributes["content_type"]) == (None, "video/mp4")


async def test_a_broken_film_has_a_reason_and_is_not_tried_again(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service, more_formats="video")
    body = FILMS["a.mp4"][0]
    cut = body[: len(body) // 2]
    attachment_id = await service.client.upload(cut, "a.mp4")
    await service.client.settled(attachment_id)
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.attempt, row.resized) == ("ready", "damaged", 1, False)
    assert (row.content_type, row.size) == ("video/mp4", len(cut))
