"""Functions that lose rows and use the rows' ids again, as the restore of a backup does.

Another function makes a bucket for one test.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from yarl import URL

from shared.links import Links
from tests.support.resources import open_bucket, stored
from tests.support.service import Client, Service, until
from tests.support.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Reused:
    """An attachment id that the service gave to two organizations.

    The row of the first organization is lost, but its file is still in the store.
    """

    service: Service
    second: Client
    created: Any
    key: str
    event: dict[str, Any]
    first_bytes: bytes

    @property
    def attachment_id(self) -> str:
        """Return the attachment id that both organizations have."""
        return str(self.created["data"]["id"])

    async def send_event(self) -> None:
        """Post the event of the first organization's upload now, as a slow store does."""
        relay = self.service.stack.relay
        before, relay.target = relay.target, self.service.base_url
        try:
            assert await relay.post(json.dumps(self.event).encode()) == 200
        finally:
            relay.target = before

    async def download(self, key: str | None = None) -> bytes | None:
        """Request a file through the API as the second organization.

        The default of `key` is the second row's original. Return the content, or None if the
        service or the store answers with 404.
        """
        links, now = Links(self.service.settings), datetime.now(UTC)
        address = links.url(key or self.key, now, now, self.service.base_url)
        async with self.second.session.get(URL(address, encoded=True)) as answer:
            assert answer.status in (200, 404), await answer.text()
            return await answer.read() if answer.status == 200 else None

    async def object(self, key: str | None = None) -> bytes | None:
        """Read the attachment's original, or the object with this key, directly from the store."""
        async with open_bucket(self.service.stack) as bucket:
            return await stored(bucket, self.service.settings.s3_bucket, key or self.key)


async def lose_rows(service: Service, first_id: str | int) -> None:
    """Delete all rows whose id is `first_id` or higher, and set the sequence back to this id, as
    the restore of a backup does.
    """
    await service.execute("DELETE FROM attachments WHERE id >= $1", int(first_id))
    await service.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {int(first_id)}")


async def reuse_id(
    service: Service, content: bytes, *, name: str = "img.png", minutes: int = 1, wait_s: float = 0
) -> Reused:
    """Upload a file, delete its row, and create another organization's row with the same id.

    The file must be older than the second row. So the function adds `minutes` to the creation time
    of the second row, or waits `wait_s` seconds before it creates this row. No event about the two
    attachments reaches the service.
    """
    relay = service.stack.relay
    relay.target = None
    created = await service.client.create(name)
    lost_id, key = created["data"]["id"], created["data"]["attributes"]["aws_policy"]["key"]
    assert (await service.client.post_file(created, content))[0] == 201

    async def sent() -> Any:
        return next((event for event in relay.seen if event["key"].endswith(f"/{key}")), None)

    event = await until(sent, within_s=30)
    await lose_rows(service, lost_id)
    await asyncio.sleep(wait_s)
    second = await service.organization()
    again = await second.create(name)
    assert (again["data"]["id"], again["data"]["attributes"]["aws_policy"]["key"]) == (lost_id, key)
    await service.execute(
        "UPDATE attachments SET created_at = created_at + $2 * interval '1 minute' WHERE id = $1",
        int(lost_id),
        minutes,
    )
    return Reused(
        service=service, second=second, created=again, key=key, event=event, first_bytes=content
    )


@asynccontextmanager
async def own_bucket(stack: Stack) -> AsyncIterator[str]:
    """Make a bucket for one test, because the shared bucket holds objects of other databases.

    The bucket is deleted with its objects: SeaweedFS has a limited number of volumes, and each
    bucket uses some of them.
    """
    name = f"own-{uuid4().hex}"
    async with open_bucket(stack) as client:
        await client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            await client.delete_bucket(Bucket=name)
