"""Thumbnails in several styles on the real parts: made, shown, served and removed."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest_asyncio
from PIL import Image

from shared.links import Links
from shared.storage import Storage
from tests.data import images
from tests.support.attachment_rows import NOW
from tests.support.batches import follow
from tests.support.commands import command, reconciled
from tests.support.faults import no_orphans, stored_keys
from tests.support.objects import exists, opened_storage
from tests.support.resources import PATH
from tests.support.service import Service, until
from tests.support.stack import Stack
from tests.support.starting import StartWorker
from tests.support.style_files import FILES, STYLES, described, folder, sizes


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the tests."""
    async with opened_storage(stack) as opened:
        yield opened


async def test_every_kind_of_file_gets_all_styles_and_each_opens(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, styles=STYLES)
    client = service.client
    ids = await asyncio.gather(*(client.upload(body, name) for name, (body, _) in FILES.items()))
    for attachment_id, (name, (_, wanted)) in zip(ids, FILES.items(), strict=True):
        resource = await client.settled(attachment_id)
        thumbs = resource["meta"]["thumbs"]
        assert sizes(resource) == wanted, name
        assert next(iter(thumbs)) == "thumb"
        assert thumbs["thumb"]["url"] == resource["attributes"]["thumb"]
        for style, each in thumbs.items():
            served = await follow(client, each["url"])
            assert served.status == 200
            assert served.content_type in ("image/jpeg", "image/png")
            assert Image.open(io.BytesIO(served.body)).size == wanted[style], (name, style)
        await no_orphans(service, storage, attachment_id)
        assert len(await stored_keys(storage, folder(await service.row(attachment_id)))) == 4


async def test_events_of_our_own_styles_have_no_effect(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(service, styles=STYLES)
    attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
    await service.client.settled(attachment_id)
    seen = service.stack.relay.seen
    await until(lambda: asyncio.sleep(0, any("/small/" in str(each["key"]) for each in seen)))
    await until(lambda: asyncio.sleep(0, any("/medium/" in str(each["key"]) for each in seen)))
    row = await service.row(attachment_id)
    assert (row.state, row.revision, row.attempt) == ("ready", 1, 1)


async def test_an_object_that_a_stranger_put_at_the_key_of_a_style_is_not_shown_or_served(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, styles=STYLES)
    client = service.client
    attachment_id = await client.upload(images.photo(1600, 1200), "photo.jpg")
    resource = await client.settled(attachment_id)
    row = await service.row(attachment_id)
    strange = f"{folder(row)}huge/photo.jpg"
    await storage.write(strange, b"<script>", content_type="text/html")
    assert (await client.show(attachment_id))["meta"]["thumbs"] == resource["meta"]["thumbs"]
    url = Links(service.settings).url(strange, row.uploaded_at, NOW, str(service.base_url))
    assert (await follow(client, url)).status == 404
    status, kinds, document = await reconciled(service)
    assert status == 1
    assert {each["key"] for each in document["differences"]} >= {strange}
    assert kinds[int(attachment_id)] == "thumbnail_without_row"


async def test_a_purge_removes_styles_that_are_not_configured_any_more(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, styles=STYLES)
    attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
    await service.client.settled(attachment_id)
    row = await service.row(attachment_id)
    await worker.stop()
    await start_worker(service, sweep_interval="0.2")
    assert (await service.client.request("DELETE", f"{PATH}/{attachment_id}")).status == 204
    await service.execute("UPDATE attachments SET due_at = now() WHERE id = $1", row.id)

    async def purged() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(purged, within_s=30)
    assert await stored_keys(storage, folder(row)) == []
    assert (await service.row(attachment_id)).styles is None


async def test_a_newer_upload_removes_styles_that_are_not_configured_any_more(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    worker = await start_worker(service, styles=STYLES)
    created = await service.client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    await service.client.post_file(created, images.photo(1600, 1200))
    assert set(sizes(await service.client.settled(attachment_id))) == {"thumb", "medium", "small"}
    await worker.stop()
    await start_worker(service, styles="large:800")
    await service.client.post_file(created, images.photo(1200, 1600))
    row = await described(service, attachment_id, after=1)
    assert sizes(await service.client.show(attachment_id)) == {
        "thumb": (240, 320),
        "large": (600, 800),
    }
    await no_orphans(service, storage, attachment_id)
    assert len(await stored_keys(storage, folder(row))) == 3


async def test_a_file_without_a_picture_loses_all_styles_of_the_upload_before(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, styles=STYLES)
    created = await service.client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    await service.client.post_file(created, images.photo(1600, 1200))
    await service.client.settled(attachment_id)
    await service.client.post_file(created, b"only words")
    row = await described(service, attachment_id, after=1)
    assert (await service.client.show(attachment_id))["meta"]["thumbs"] == {}
    assert await stored_keys(storage, folder(row)) == [row.key]


async def test_reconcile_finds_a_style_that_the_store_has_lost_and_has_it_made_again(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    await start_worker(service, styles=STYLES)
    attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
    await service.client.settled(attachment_id)
    row = await service.row(attachment_id)
    lost = f"{folder(row)}medium/photo.jpg"
    await storage.delete(lost)
    _, kinds, document = await reconciled(service)
    assert kinds[row.id] == "thumbnail_missing"
    assert lost in {each["key"] for each in document["differences"]}
    await reconciled(service, "--mend")
    await described(service, attachment_id, after=row.revision)
    assert await exists(storage, lost)
    await no_orphans(service, storage, attachment_id)


async def test_a_style_that_is_too_expensive_is_not_tried_again(
    service: Service, start_worker: StartWorker
) -> None:
    # A decoder may take 0.3 s of CPU time. The estimate is 0.04 s for `thumb`, 0.5 s for `large`.
    await start_worker(service, styles="large:2048", decoder_timeout="0.6")
    large = images.encode(images.quadrants(2000, 1500), "PNG")
    attachment_id = await service.client.upload(large, "large.png")
    resource = await service.client.settled(attachment_id)
    assert resource["meta"]["reason"] is None
    assert set(sizes(resource)) == {"thumb"}
    ended = await command(service, "retry", "--style", "large", styles="large:2048")
    assert ended.err == "no attachment lacks the style large; nothing was done\n"
