"""After a change of buckets, old rows use only objects that were moved to the new bucket."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from tests.data import images
from tests.support.commands import reconciled
from tests.support.databases import clone_database
from tests.support.doctor import environment, examine
from tests.support.lost_rows import own_bucket
from tests.support.objects import content, exists, opened_storage
from tests.support.resources import PATH, body
from tests.support.service import Client, Service, running_service, until
from tests.support.stack import Stack
from tests.support.starting import StartWorker

PHOTO, OTHER = images.photo(), images.photo(colour=(1, 2, 3))
QUICK = {"sweep_interval": "0.2", "pending_check": "1", "retention": "0"}


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A database whose service used one bucket before and uses another bucket now."""

    before: Service
    now: Service

    @property
    def client(self) -> Client:
        """Return a client of the service `now`, for the organization that has the older rows."""
        client = self.before.client
        return Client(
            session=client.session,
            base_url=self.now.base_url,
            token=client.token,
            organization_id=client.organization_id,
        )


@pytest_asyncio.fixture
async def changed(stack: Stack) -> AsyncIterator[Changed]:
    """Start two services on one database, each with its own bucket."""
    async with AsyncExitStack() as exits:
        url = await clone_database(stack)
        before, now = [
            await exits.enter_async_context(
                running_service(
                    stack,
                    url,
                    s3_bucket=await exits.enter_async_context(own_bucket(stack)),
                    **QUICK,
                )
            )
            for _ in range(2)
        ]
        yield Changed(before=before, now=now)


async def opened(client: Client, resource: Any, name: str) -> int:
    """Request a link of a resource, and return the status of the answer."""
    path = "/attachments" + resource["attributes"][name].partition("/attachments")[2]
    return (await client.request("GET", path)).status


async def test_a_row_of_another_bucket_uses_nothing_of_the_new_one_until_its_object_is_there(
    changed: Changed, stack: Stack, start_worker: StartWorker
) -> None:
    client, made = changed.client, changed.before.client
    stack.relay.target = changed.before.base_url
    former = await start_worker(changed.before)
    ready, deleted = [await made.settled(await made.upload(PHOTO)) for _ in range(2)]
    pending = (await made.create("img.png"))["data"]
    await former.stop()
    stack.relay.target = None
    rows = [await changed.now.row(each["id"]) for each in (ready, deleted, pending)]
    await client.request("DELETE", f"{PATH}/{deleted['id']}")
    await changed.now.execute(
        "UPDATE attachments SET due_at = now() - interval '1 second', deleted_at = CASE"
        " WHEN deleted_at IS NOT NULL THEN deleted_at - interval '2 hours' END"
    )
    async with (
        opened_storage(stack, changed.now.settings.s3_bucket) as storage,
        opened_storage(stack, changed.before.settings.s3_bucket) as former_storage,
    ):
        # The new bucket has objects with the same keys, of a deployment that used it before.
        for row in rows:
            await storage.write(row.key, OTHER, content_type="image/png")
            await storage.write(row.key.replace("/original/", "/thumb/"), OTHER, content_type="i/p")

        worker = await start_worker(changed.now)

        async def looked_at() -> bool:
            return worker.log().count("row names another bucket") >= 2 and (
                "purge postponed" in worker.log()
            )

        await until(looked_at, within_s=60)
        patch = {"temp_url": f"{changed.now.settings.upload_url}/{rows[2].key}"}
        answer = await client.request(
            "PATCH", f"{PATH}/{pending['id']}", body(patch, pending["id"])
        )
        assert answer.status == 200
        assert await opened(client, ready, "url") == await opened(client, ready, "thumb") == 404
        assert (await client.show(ready["id"]))["meta"]["state"] == "ready"
        assert (await client.show(pending["id"]))["meta"]["state"] == "pending"
        for row in rows:
            assert await content(storage, row.key) == OTHER
        assert await exists(former_storage, rows[1].key)
        examined = await examine(environment(changed.now), wait=1)
        assert changed.before.settings.s3_bucket in examined["owner"]["found"]
        _, kinds, _ = await reconciled(changed.now, "--mend")
        assert "row_names_another_bucket" not in kinds.values()
        assert await opened(client, ready, "url") == 404

        # An operator has moved the object into the new bucket.
        await storage.write(rows[0].key, PHOTO, content_type="image/png")
        _, _, document = await reconciled(changed.now, "--mend")

        assert {
            (each["kind"], each["mended"])
            for each in document["differences"]
            if each["id"] == int(ready["id"])
        } == {("row_names_another_bucket", True)}
        assert await opened(client, ready, "url") == 302
