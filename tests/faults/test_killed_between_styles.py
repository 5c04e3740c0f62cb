"""A worker is killed while it stores the thumbnails of one file, one after the other."""

import asyncio
import os
import signal

import pytest

from shared.storage import Storage
from shared.styles import named_keys, shown_thumbnails
from tests.support.commands import command
from tests.support.faults import PHOTO, SOON, is_whole, no_orphans, reaches
from tests.support.objects import exists
from tests.support.proxy import Proxy, Stream
from tests.support.service import Service, until
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault


class StoppingProxy(Proxy):
    """A proxy to the store that passes on nothing more from the first thumbnail `medium` on."""

    stopped = False

    async def _ask(self, data: bytes, client: Stream, server: Stream) -> bool:
        if data.startswith(b"PUT ") and b"/medium/" in data.partition(b"\r\n")[0]:
            self.stopped = True
            self.swallow()
        return await super()._ask(data, client, server)


async def test_f1_a_worker_that_is_killed_between_two_thumbnails_leaves_no_orphan(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    way = StoppingProxy(service.stack.seaweedfs.url)
    await way.start()
    try:
        worker = await start_worker(
            service, s3_endpoint_url=way.url, lease="2", styles="medium:400,small:64", **SOON
        )
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await until(lambda: asyncio.sleep(0, way.stopped))
        os.killpg(worker.pid, signal.SIGKILL)
    finally:
        await way.stop()
    row = await service.row(attachment_id)
    named = named_keys(row)
    assert set(named) == {"thumb", "medium", "small"}
    assert shown_thumbnails(row) == {}
    stored = {style for style, key in named.items() if await exists(storage, key)}
    assert stored == {"thumb"}
    await start_worker(service, styles="large:500", **SOON)
    await reaches(service, attachment_id, "ready")
    await is_whole(service, storage, attachment_id, PHOTO)
    await no_orphans(service, storage, attachment_id)
    assert set(shown_thumbnails(await service.row(attachment_id))) == {"thumb", "large"}


async def test_f1_a_retried_style_that_is_not_stored_hides_none_of_the_others(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    first = await start_worker(service, styles="small:64", **SOON)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await service.client.settled(attachment_id)
    await first.stop()
    both = "small:64,medium:400"
    assert (await command(service, "retry", "--style", "medium", styles=both)).status == 0
    way = StoppingProxy(service.stack.seaweedfs.url)
    await way.start()
    try:
        worker = await start_worker(
            service, s3_endpoint_url=way.url, lease="2", styles=both, **SOON
        )
        await until(lambda: asyncio.sleep(0, way.stopped))
        os.killpg(worker.pid, signal.SIGKILL)
    finally:
        await way.stop()
    row = await service.row(attachment_id)
    assert set(named_keys(row)) == {"thumb", "small", "medium"}
    shown = shown_thumbnails(row)
    assert set(shown) == {"thumb", "small"}
    assert all([await exists(storage, each.key) for each in shown.values()])
    await start_worker(service, styles=both, **SOON)
    await reaches(service, attachment_id, "ready")
    assert set(shown_thumbnails(await service.row(attachment_id))) == {"thumb", "small", "medium"}
    await no_orphans(service, storage, attachment_id)
