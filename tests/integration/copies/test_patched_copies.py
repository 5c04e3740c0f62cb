"""Copies that a PATCH requests, also if the API process is killed during the copy."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from api.temp_urls.copying import COPIES_EACH
from shared.lifecycle import COPY_ATTEMPTS
from shared.states import STATES, State
from tests.data.images import gradient_photo
from tests.support.copies import PATH, create_many, is_copy, source
from tests.support.objects import store_proxy
from tests.support.service import Answer, Service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.mark.parametrize("large", [False, True])
async def test_a_temp_url_may_be_patched_onto_any_state(
    service: Service,
    bucket: "S3Client",
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    large: bool,
) -> None:
    service.stack.relay.target = None
    if large:
        monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 0)
    # One worker makes all the copies, because it takes longer to start than to copy.
    urls = {await patched_onto(service, bucket, state, large=large): state for state in STATES}
    await start_worker(service, sweep_interval="0.5", publish_grace="1")

    async def copied(attachment_id: str) -> bool:
        row = await service.row(attachment_id)
        return row.state == "ready" and row.copy_key is None and row.size == len(gradient_photo())

    for (attachment_id, url), state in urls.items():
        await until(partial(copied, attachment_id), within_s=30)
        shown = await service.client.show(attachment_id)
        assert shown["attributes"]["temp_url"] == url, state
        assert shown["attributes"]["resized"] is True, state


async def patched_onto(
    service: Service, bucket: "S3Client", state: State, *, large: bool
) -> tuple[str, str]:
    """Make an attachment in a state, and patch a temp_url onto it. Return its id and the URL."""
    url = await source(bucket, service, f"onto-{state}.jpg", gradient_photo())
    created = await service.client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    if state not in ("pending", "expired"):
        assert (await service.client.post_file(created, b"an older file"))[0] == 201
        own = f"{service.settings.upload_url}/{(await service.row(attachment_id)).key}"
        await patched(service, attachment_id, temp_url=own)
    await service.execute(
        "UPDATE attachments SET state = $1, due_at = now() + interval '1 second',"
        " claimed_revision = revision, attempt = 1 WHERE id = $2",
        state,
        int(attachment_id),
    )
    answer = await patched(service, attachment_id, temp_url=url, name="renamed.jpg")
    assert answer.data["attributes"]["temp_url"] == url
    assert answer.data["attributes"]["name"] == "renamed.jpg"
    at_once = not large and state != "processing"
    assert answer.data["meta"]["state"] == ("uploaded" if at_once else state)
    assert (await service.row(attachment_id)).copy_key is None or not at_once
    return attachment_id, url


async def patched(service: Service, attachment_id: str, **attributes: Any) -> Answer:
    """Send a PATCH for an attachment, assert that it succeeds, and return the answer."""
    document = {"data": {"type": "attachments", "id": attachment_id, "attributes": attributes}}
    answer = await service.client.request("PATCH", f"{PATH}/{attachment_id}", document)
    assert answer.status == 200, answer.body
    return answer


async def test_a_copy_of_an_api_that_was_killed_is_made_by_a_worker(
    service: Service, bucket: "S3Client", start_worker: StartWorker, stack: Stack
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "killed.jpg", gradient_photo())
    program = (
        "import runpy, api.temp_urls.copying; api.temp_urls.copying.COPY_LEASE_S = 1;"
        " runpy.run_module('api', run_name='__main__')"
    )
    async with store_proxy(stack) as proxy:
        proxy.lose(is_copy)
        api = ApiProcess(
            {**service.environment, "ATTACHMENTS_S3_ENDPOINT_URL": proxy.url},
            program=("-c", program),
            s3_public_url=service.settings.upload_url,
        )
        try:
            await api.start()
            client = replace(service.client, base_url=api.url)
            create = asyncio.create_task(create_many(client, url, 2))

            async def copying() -> bool:
                rows = await service.database.fetch("SELECT copy_attempt FROM attachments")
                return bool(sum(row[0] % COPY_ATTEMPTS for row in rows) == COPIES_EACH)

            await until(copying)
        finally:
            api.close()
        with pytest.raises(aiohttp.ClientError):
            await create
    await start_worker(service, sweep_interval="0.5")
    for row in await service.database.fetch("SELECT id FROM attachments"):
        assert (await service.client.settled(row["id"]))["meta"]["state"] == "ready"
