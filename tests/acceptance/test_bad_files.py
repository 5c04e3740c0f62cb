"""Files that lie, break or attack, through the running service (safety.md, rows 67 to 83)."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from shared.storage import Storage
from tests.conftest import StartService, StartWorker
from tests.data import images
from tests.objects import exists, opened_storage, store_proxy
from tests.service import Client, Service
from tests.stack import Stack
from worker.pipeline import HEAD_BYTES

MIB = 1024 * 1024


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """The bucket."""
    async with opened_storage(stack) as opened:
        yield opened


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a browser gets that follows a link."""

    status: int
    content_type: str
    disposition: str
    body: bytes


async def follow(client: Client, url: str) -> Served:
    """Follow a link of the API as a browser does."""
    async with client.session.get(url) as answer:
        return Served(
            status=answer.status,
            content_type=answer.headers.get("Content-Type", ""),
            disposition=answer.headers.get("Content-Disposition", "").partition(";")[0],
            body=await answer.read(),
        )


def outcome(resource: Any) -> tuple[str, str | None]:
    """Give state and reason."""
    reason = resource["meta"].get("reason")
    return resource["meta"]["state"], reason and reason["code"]


def is_without_thumbnail(resource: Any) -> bool:
    """Whether nothing is said of a thumbnail."""
    attributes = resource["attributes"]
    return attributes["resized"] is False and not attributes["thumb"]


async def test_row67_a_file_of_no_bytes_is_ready(working: Service) -> None:
    client = working.client
    resource = await client.settled(await client.upload(b"", "nothing.png"))
    assert outcome(resource) == ("ready", None)
    assert resource["attributes"]["size"] == 0
    assert resource["attributes"]["content_type"] == "application/octet-stream"
    assert is_without_thumbnail(resource)
    assert (await follow(client, resource["attributes"]["url"])).body == b""


@pytest.mark.parametrize("name", ["film.bin", "film.png"])
async def test_row68_an_object_beyond_the_policy_is_rejected_before_it_is_downloaded(
    start_service: StartService, start_worker: StartWorker, storage: Storage, name: str
) -> None:
    service = await start_service(max_size="1000")
    created = await service.client.create(name)
    attachment_id = created["data"]["id"]
    body = b"\x89PNG\r\n\x1a\n" + bytes(40 * MIB)
    status, _ = await service.client.post_file(created, body[:5000])
    assert status != 201  # the policy lets no such file in
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


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(images.HTML, "text/html", id="row69-html"),
        pytest.param(b"alert(document.cookie);\n" * 9, "text/plain", id="row69-js"),
        pytest.param(images.SVG, "image/svg+xml", id="row70-svg"),
        pytest.param(b'<?xml version="1.0"?><a/>', "text/xml", id="row70-xml"),
    ],
)
async def test_what_could_run_in_a_browser_is_only_ever_downloaded(
    working: Service, content: bytes, content_type: str
) -> None:
    client = working.client
    attachment_id = await client.upload(content, "img.png", content_type="image/png")
    resource = await client.settled(attachment_id)
    assert outcome(resource) == ("ready", None)
    assert resource["attributes"]["content_type"] == content_type
    assert is_without_thumbnail(resource)
    served = await follow(client, resource["attributes"]["url"])
    assert (served.status, served.disposition) == (200, "attachment")
    assert served.content_type.partition(";")[0] == content_type
    assert served.body == content


@pytest.mark.parametrize(
    ("content", "name", "content_type"),
    [
        pytest.param(images.gif_with_script(), "img.gif", "image/gif", id="row71-gif+js"),
        pytest.param(images.png_with_zip(), "img.png", "image/png", id="row71-png+zip"),
        pytest.param(images.png_with_html(), "img.html", "image/png", id="row71-png+html"),
    ],
)
async def test_of_a_polyglot_the_thumbnail_is_an_image_and_nothing_else(
    working: Service, content: bytes, name: str, content_type: str
) -> None:
    client = working.client
    assert images.PAYLOAD in content
    resource = await client.settled(await client.upload(content, name))
    assert outcome(resource) == ("ready", None)
    thumbnail = await follow(client, resource["attributes"]["thumb"])
    assert thumbnail.content_type == "image/png"
    assert images.PAYLOAD not in thumbnail.body
    assert b"payload-4711" not in thumbnail.body
    assert Image.open(io.BytesIO(thumbnail.body)).format == "PNG"
    original = await follow(client, resource["attributes"]["url"])
    # Whatever it is called, a browser is told that it is that image, and not to show it.
    assert (original.content_type, original.body) == (content_type, content)
    assert original.disposition == "attachment"


REJECTED = [
    pytest.param(
        images.encode(images.noise(300, 200), kind)[:-9000],
        {"truncated", "broken"},
        id=f"row72-truncated-{kind.lower()}",
    )
    for kind in ("JPEG", "PNG", "WEBP")
] + [
    pytest.param(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500), {"broken", "truncated"},
                 id="row72-only-a-header"),
    pytest.param(images.png_of_size(30_000, 30_000), {"too_many_pixels"}, id="row73-png-30000"),
    pytest.param(images.png_of_size(2**31 - 1, 2**31 - 1), {"too_many_pixels", "broken"},
                 id="row73-png-2^31-1"),
    pytest.param(images.gif_of_size(65_535, 65_535), {"too_many_pixels"}, id="row73-gif-65535"),
    pytest.param(images.many_scans(510), {"too_many_scans"}, id="row74-scans"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "reasons"), REJECTED)
async def test_a_bad_image_is_rejected_once_and_for_all(
    working: Service, storage: Storage, content: bytes, reasons: set[str]
) -> None:
    client = working.client
    attachment_id = await client.upload(content, "img.png")
    resource = await client.settled(attachment_id)
    state, reason = outcome(resource)
    assert state == "rejected"
    assert reason in reasons
    assert resource["meta"]["reason"]["detail"]
    assert is_without_thumbnail(resource)
    assert resource["attributes"]["size"] == len(content)
    row = await working.row(attachment_id)
    assert row.attempt == 1
    assert not await exists(storage, row.key.replace("/original/", "/thumb/"))
    served = await follow(client, resource["attributes"]["url"])
    assert (served.disposition, served.body) == ("attachment", content)
    # ... and the worker goes on
    good = await client.settled(await client.upload(images.photo(), "img.jpg"))
    assert outcome(good) == ("ready", None)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(images.ELF, id="elf"),
        pytest.param(images.PE, id="pe"),
        pytest.param(images.SCRIPT, id="shell"),
    ],
)
async def test_what_a_desktop_would_run_is_rejected_and_never_served(
    working: Service, content: bytes
) -> None:
    client = working.client
    attachment_id = await client.upload(content, "holiday.jpg", content_type="image/jpeg")
    resource = await client.settled(attachment_id)
    assert outcome(resource) == ("rejected", "reserved_type")
    assert is_without_thumbnail(resource)
    url = resource["attributes"]["url"]
    assert (await follow(client, url)).status == 404
    # Nor while it is looked at once more, by hand or for whatever came instead.
    await working.execute(
        "UPDATE attachments SET state = 'uploaded', reason = NULL, revision = revision + 1"
        " WHERE id = $1",
        int(attachment_id),
    )
    assert (await follow(client, url)).status == 404


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "EPS"])
async def test_row83_other_formats_named_like_photos_are_named_and_not_decoded(
    working: Service, kind: str
) -> None:
    client = working.client
    content = images.encode(images.quadrants(), kind)
    resource = await client.settled(await client.upload(content, "img.jpg"))
    assert outcome(resource) == ("ready", None)
    assert resource["attributes"]["content_type"] not in ("image/jpeg", "application/octet-stream")
    assert is_without_thumbnail(resource)
    assert (await follow(client, resource["attributes"]["url"])).disposition == "attachment"


@pytest.mark.parametrize(
    ("size", "wanted"), [((1, 20_000), (1, 320)), ((1, 1), (1, 1))], ids=["1×20000", "1×1"]
)
async def test_row82_an_image_of_one_column_has_a_thumbnail(
    working: Service, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    client = working.client
    content = images.encode(Image.new("RGB", size, images.RED), "PNG")
    resource = await client.settled(await client.upload(content, "img.png"))
    assert outcome(resource) == ("ready", None)
    assert (resource["meta"]["width"], resource["meta"]["height"]) == size
    thumbnail = await follow(client, resource["attributes"]["thumb"])
    assert Image.open(io.BytesIO(thumbnail.body)).size == wanted
