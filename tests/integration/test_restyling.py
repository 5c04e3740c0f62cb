"""`attachments retry --style` makes missing thumbnails, and webhooks do not report it."""

import asyncio

import pytest

from deploy.commands.restyling import AT_A_TIME
from tests.data import images
from tests.support.commands import command
from tests.support.receiver import SETTINGS, make_webhook, running_receiver
from tests.support.resources import PATH
from tests.support.service import Service, until
from tests.support.starting import StartService, StartWorker
from tests.support.states import copy_row, create, put
from tests.support.style_files import FILES, STYLES, described, sizes


async def test_retry_makes_a_style_that_was_configured_later_without_a_webhook_event(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    names = ("photo.jpg", "flat.png", "report.docx")
    ids = [await service.client.upload(FILES[name][0], name) for name in names]
    text = await service.client.upload(b"only words", "a.txt")
    before = {each: await service.client.settled(each) for each in (*ids, text)}
    await worker.stop()
    assert [sizes(before[each]).keys() for each in ids] == [{"thumb"}] * 3
    ended = await command(service, "retry", "--style", "medium", styles=STYLES)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "3 attachments are processed again for the style medium\n"
    again = await command(service, "retry", "--style", "medium", styles=STYLES)
    assert (again.status, again.out) == (0, "")
    assert again.err == "no attachment lacks the style medium; nothing was done\n"
    # The stored thumbnails stay visible until the new styles are stored.
    for each in ids:
        waiting = await service.client.show(each)
        assert waiting["meta"]["state"] == "uploaded"
        assert waiting["meta"]["thumbs"] == before[each]["meta"]["thumbs"]
    await start_worker(service, styles=STYLES)
    for each, name in zip(ids, names, strict=True):
        await described(service, each, after=1)
        shown = await service.client.show(each)
        assert sizes(shown) == FILES[name][1]
        assert shown["attributes"] == before[each]["attributes"]
    assert (await service.row(text)).revision == 1


async def test_a_changed_edge_is_a_missing_style_and_gets_a_new_address(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, styles="medium:600")
    attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
    before = (await service.client.settled(attachment_id))["meta"]["thumbs"]
    await worker.stop()
    await service.execute(
        "UPDATE attachments SET processed_at = processed_at - interval '5 seconds'"
    )
    other = await command(service, "retry", "--style", "medium", styles="medium:600")
    assert other.err == "no attachment lacks the style medium; nothing was done\n"
    ended = await command(service, "retry", "--style", "medium", styles="medium:800")
    assert ended.out == "1 attachments are processed again for the style medium\n"
    await start_worker(service, styles="medium:800")
    await described(service, attachment_id, after=1)
    after = (await service.client.show(attachment_id))["meta"]["thumbs"]
    assert (after["medium"]["width"], after["medium"]["height"]) == (800, 600)
    assert after["thumb"] == before["thumb"]
    assert after["medium"]["url"] != before["medium"]["url"]


async def test_a_style_that_is_not_configured_cannot_be_made(service: Service) -> None:
    ended = await command(service, "retry", "--style", "large", styles=STYLES)
    assert ended.status == 2
    assert "--style: must be a style of ATTACHMENTS_STYLES: thumb, medium, small" in ended.err
    both = await command(service, "retry", "--style", "thumb", "--failed")
    assert both.status == 2
    assert "--style goes with --organization only" in both.err


async def test_a_style_of_an_upload_that_an_earlier_release_replaced_is_not_shown(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service, styles=STYLES)
    attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
    await service.client.settled(attachment_id)
    await worker.stop()
    # A worker of the previous release, which knows no styles, does this after a newer upload.
    newer = "UPDATE attachments SET etag = 'newer' WHERE id = $1"
    await service.execute(newer, int(attachment_id))
    shown = await service.client.show(attachment_id)
    assert {style: each["width"] for style, each in shown["meta"]["thumbs"].items()} == {
        "thumb": None
    }
    ended = await command(service, "retry", "--style", "medium", styles=STYLES)
    assert ended.out.startswith("1 attachments")


@pytest.mark.parametrize("state", ["ready", "failed"])
async def test_a_webhook_gets_all_styles_and_no_event_if_only_a_style_is_made(
    start_service: StartService, start_worker: StartWorker, state: str
) -> None:
    service = await start_service(**SETTINGS)
    async with running_receiver() as receiver:
        await make_webhook(service.client, receiver)
        worker = await start_worker(service, styles="small:64")
        attachment_id = await service.client.upload(images.photo(1600, 1200), "photo.jpg")
        ready = await receiver.wait_for(attachment_id, "attachment.ready")
        assert sizes(ready.document["data"]) == {"thumb": (320, 240), "small": (64, 48)}
        await worker.stop()
        assert (await command(service, "retry", "--style", "medium", styles=STYLES)).status == 0
        if state == "failed":
            await service.execute(
                "UPDATE attachments SET state = 'failed', reason = 'attempts_used_up',"
                " due_at = NULL WHERE id = $1",
                int(attachment_id),
            )
        await start_worker(service, styles=STYLES, sweep_interval="0.2")
        if state == "ready":
            await described(service, attachment_id, after=1)
            await service.client.request("DELETE", f"{PATH}/{attachment_id}")
            await receiver.wait_for(attachment_id, "attachment.deleted")
        else:
            await receiver.wait_for(attachment_id, "attachment.failed")
        assert receiver.of(attachment_id) == [
            "attachment.uploaded",
            "attachment.ready",
            "attachment.deleted" if state == "ready" else "attachment.failed",
        ]


async def test_the_command_queues_a_limited_number_of_attachments_at_a_time(
    service: Service, start_worker: StartWorker
) -> None:
    (one,) = await create(service)
    await put(service, one, "ready")
    many = 2 * AT_A_TIME + 100
    await service.execute(
        """
        UPDATE attachments SET resized = true, thumbnail_name = 'img.png', etag = 'e'
        WHERE id = $1
        """,
        int(one),
    )
    await copy_row(service, one, many - 1)
    # Without a worker, the command queues the first attachments, and waits.
    running = asyncio.create_task(command(service, "retry", "--style", "medium", styles=STYLES))
    waiting = "SELECT count(*) FROM attachments WHERE state = 'uploaded'"

    async def some() -> bool:
        return bool(await service.database.fetchval(waiting))

    await until(some, within_s=30)
    seen = set()
    for step in range(40):
        if step == 20:
            assert not running.done()
            # The objects do not exist, so each attempt ends at once.
            await start_worker(service, styles=STYLES)
        seen.add(await service.database.fetchval(waiting))
        await asyncio.sleep(0.1)
    ended = await running
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{many} attachments are processed again for the style medium\n"
    assert max(seen) < 2 * AT_A_TIME
    assert await service.database.fetchval("SELECT min(revision) FROM attachments") == 4
