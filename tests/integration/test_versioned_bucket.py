"""A bucket with versioning: events, pinned versions, links, and the purge."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from PIL import Image

from shared.attachments import Attachment
from shared.erasure import listings_of
from shared.reasons import ReasonCode
from shared.states import State
from tests.data import images
from tests.support.moto_server import Moto
from tests.support.resources import open_bucket
from tests.support.service import Service, until
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker
from tests.support.versioning import make_bucket, markers, versions

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

FIRST = images.encode(images.noise(400, 300), "JPEG")
SECOND = images.encode(images.noise(300, 400), "JPEG")

NO_PROBES = {"pending_check": "3600", "sweep_interval": "0.2"}
"""With these settings, the sweep checks an upload only after an hour.

So a change within the test must come from an event.
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A service with its own bucket, and a client that uses the store directly."""

    service: Service
    client: "S3Client"
    bucket: str

    async def row(self, attachment_id: str) -> Attachment:
        """Return an attachment's row."""
        return await self.service.row(attachment_id)

    async def described(self, attachment_id: str, body: bytes) -> Attachment:
        """Wait until an attachment is ready and its row describes this file; return the row."""

        async def described() -> Attachment | None:
            row = await self.row(attachment_id)
            right = row.checksum_sha256 == hashlib.sha256(body).hexdigest()
            return row if right and row.state == "ready" else None

        return await until(described, within_s=30)  # type: ignore[no-any-return]  # it is a row

    async def follow(self, url: str) -> bytes:
        """Request a signed address, and follow its redirect as a browser does; return the bytes."""
        async with self.service.client.session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()


@pytest_asyncio.fixture(params=["Enabled", "Suspended"])
async def versioned(
    request: pytest.FixtureRequest, stack: Stack, start_service: StartService
) -> AsyncIterator[Place]:
    """Start a service whose bucket in SeaweedFS has versioning, enabled or suspended."""
    async with open_bucket(stack) as client:
        bucket = await make_bucket(client, request.param)
        service = await start_service(s3_bucket=bucket, **NO_PROBES)
        yield Place(service=service, client=client, bucket=bucket)


async def test_an_event_names_the_attachment_and_the_object_that_the_store_has(
    versioned: Place,
) -> None:
    created = await versioned.service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    for body in (FIRST, SECOND):
        await versioned.service.client.post_file(created, body)
        stored = await versioned.client.head_object(
            Bucket=versioned.bucket, Key=(await versioned.row(attachment_id)).key
        )
        etag, version_id = stored["ETag"].strip('"'), stored.get("VersionId")

        async def sent(etag: str = etag) -> bool:
            return (await versioned.row(attachment_id)).etag == etag

        await until(sent)
        row = await versioned.row(attachment_id)
        assert row.state == "uploaded"
        assert row.version_id == (None if version_id == "null" else version_id)


@pytest.mark.parametrize("name", ["img.jpg", "x.versions"])
async def test_an_upload_an_overwrite_and_a_removal_are_all_seen(
    versioned: Place, start_worker: StartWorker, name: str
) -> None:
    await start_worker(versioned.service)
    client = versioned.service.client
    created = await client.create(name)
    attachment_id = created["data"]["id"]
    revisions = []
    for body, size in ((FIRST, (320, 240)), (SECOND, (240, 320))):
        await client.post_file(created, body)
        row = await versioned.described(attachment_id, body)
        resource = await client.show(attachment_id)
        assert await versioned.follow(resource["attributes"]["url"]) == body
        assert resource["attributes"]["resized"] is True
        thumbnail = await versioned.follow(resource["attributes"]["thumb"])
        assert Image.open(io.BytesIO(thumbnail)).size == size
        revisions.append(row.revision)
    seen = versioned.service.stack.relay.seen
    await until(lambda: asyncio.sleep(0, any("/thumb/" in str(item["key"]) for item in seen)))
    row = await versioned.row(attachment_id)
    # Each upload adds one revision. Events about thumbnails and replaced versions add no revision.
    assert (row.state, row.revision) == ("ready", revisions[-1])
    assert revisions == [1, 2]
    await versioned.client.delete_object(Bucket=versioned.bucket, Key=row.key)
    await until(lambda: state(versioned, attachment_id, "failed", "missing"))


async def test_the_removal_of_an_old_version_changes_nothing(
    versioned: Place, start_worker: StartWorker
) -> None:
    await start_worker(versioned.service)
    client = versioned.service.client
    created = await client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await client.post_file(created, FIRST)
    key = (await versioned.described(attachment_id, FIRST)).key
    [(_, old)] = await versions(versioned.client, versioned.bucket, key)
    await client.post_file(created, SECOND)
    before = await versioned.described(attachment_id, SECOND)
    if old == "null":
        pytest.skip("a suspended bucket replaces the version that it has")
    await versioned.client.delete_object(Bucket=versioned.bucket, Key=key, VersionId=old)

    # The check that is due now changes nothing except the time of the next check.
    async def asked() -> bool:
        row = await versioned.row(attachment_id)
        return row.due_at is not None and row.due_at > row.policy_expires_at

    await until(asked)
    after = await versioned.row(attachment_id)
    assert (after.state, after.etag, after.version_id, after.resized, after.revision) == (
        "ready",
        before.etag,
        before.version_id,
        True,
        before.revision,
    )


async def state(place: Place, attachment_id: str, wanted: State, reason: ReasonCode) -> bool:
    """Return True if an attachment is in this state with this reason."""
    row = await place.row(attachment_id)
    return (row.state, row.reason) == (wanted, reason)


async def purge(place: Place, attachment_id: str) -> Attachment:
    """Delete an attachment as a client does, make its purge due, and wait until it is purged."""
    client = place.service.client
    answer = await client.request("DELETE", f"/api/v2/attachments/{attachment_id}")
    assert answer.status in (200, 204)
    await place.service.execute(
        "UPDATE attachments SET due_at = now() WHERE id = $1", int(attachment_id)
    )

    async def purged() -> Attachment | None:
        row = await place.row(attachment_id)
        return row if row.due_at is None else None

    return await until(purged, within_s=30)  # type: ignore[no-any-return]  # it is a row


async def test_a_purge_leaves_no_version_of_original_or_thumbnails(
    versioned: Place, start_worker: StartWorker
) -> None:
    await start_worker(versioned.service)
    client = versioned.service.client
    other = await client.upload(FIRST, "img.gif")
    created = await client.create("img.gif")
    attachment_id = created["data"]["id"]
    # The thumbnail is first `img.gif`, later `img.png`. The text file has no thumbnail.
    for body in (FIRST, images.MODES["gif"][0](), b"only words\n", FIRST, SECOND):
        await client.post_file(created, body)
        await versioned.described(attachment_id, body)
    await client.settled(other)
    row = await purge(versioned, attachment_id)
    for listing in listings_of(row):
        assert await versions(versioned.client, versioned.bucket, listing.prefix) == []
    kept = await versioned.row(other)
    assert {key for key, _ in await versions(versioned.client, versioned.bucket)} == {
        kept.key,
        kept.thumbnail_key,
    }


@pytest_asyncio.fixture
async def in_moto(start_service: StartService, moto: Moto) -> Place:
    """Start a service whose bucket in moto has versioning. moto sends no events."""
    bucket = await make_bucket(moto.s3, "Enabled")
    service = await start_service(
        s3_bucket=bucket, s3_endpoint_url=moto.url, sweep_interval="0.2", pending_check="1"
    )
    return Place(service=service, client=moto.s3, bucket=bucket)


async def test_a_purge_leaves_neither_versions_nor_markers_in_another_store(
    in_moto: Place, start_worker: StartWorker
) -> None:
    await start_worker(in_moto.service)
    created = await in_moto.service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    key = (await in_moto.row(attachment_id)).key

    async def put(body: bytes) -> Any:
        return await in_moto.client.put_object(Bucket=in_moto.bucket, Key=key, Body=body)

    await put(SECOND)
    await in_moto.client.delete_object(Bucket=in_moto.bucket, Key=key)
    await put(FIRST)
    await in_moto.described(attachment_id, FIRST)
    assert len(await versions(in_moto.client, in_moto.bucket, key)) == 2
    await purge(in_moto, attachment_id)
    assert await versions(in_moto.client, in_moto.bucket) == []
    assert await markers(in_moto.client, in_moto.bucket) == []


async def test_a_purge_leaves_no_version_of_a_style_that_is_not_configured_any_more(
    versioned: Place, start_worker: StartWorker
) -> None:
    first = await start_worker(versioned.service, styles="medium:350,small:64")
    created = await versioned.service.client.create("img.jpg")
    attachment_id = created["data"]["id"]
    await versioned.service.client.post_file(created, FIRST)
    await versioned.described(attachment_id, FIRST)
    await first.stop()
    await start_worker(versioned.service, styles="large:380")
    await versioned.service.client.post_file(created, SECOND)
    await versioned.described(attachment_id, SECOND)
    stored = {key.split("/")[-2] for key, _ in await versions(versioned.client, versioned.bucket)}
    # The removal of a style has only added a delete marker, unless versioning is suspended.
    assert stored >= {"original", "thumb", "large"}
    await purge(versioned, attachment_id)
    assert await versions(versioned.client, versioned.bucket) == []
