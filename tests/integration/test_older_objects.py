"""If rows are lost and an id is issued again, the new row never gets the lost row's file."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from shared import lifecycle, older_objects
from shared.ages import MARGIN_S
from shared.attachments import find_any
from shared.notifications import UploadEvent
from shared.states import State
from tests.data import images
from tests.support.commands import command
from tests.support.lost_rows import Reused, reuse_id
from tests.support.resources import open_bucket
from tests.support.service import Service, until
from tests.support.starting import StartService, StartWorker

FIRST = images.photo(colour=(200, 30, 30))
SECOND = images.photo(colour=(30, 30, 200))
QUICK = {"sweep_interval": "0.2", "pending_check": "1"}
CLEARED = (
    "etag",
    "version_id",
    "sequencer",
    "uploaded_at",
    "processed_at",
    "reason",
    "width",
    "height",
    "pages",
    "checksum_sha256",
)


@pytest_asyncio.fixture
async def quick(start_service: StartService) -> Service:
    """Start a service that checks a pending row after one second if no event has arrived."""
    return await start_service(**QUICK)


async def by_sweep(_reused: Reused) -> None:
    """Do nothing, so that only the sweep can find the object."""


async def by_event(reused: Reused) -> None:
    """Send the late event of the first upload."""
    await reused.send_event()


async def by_patch(reused: Reused) -> None:
    """Report the object as a client does, by a PATCH that sets `temp_url`."""
    url = f"{reused.service.settings.upload_url}/{reused.key}"
    answer = await reused.second.request(
        "PATCH",
        f"/api/v2/attachments/{reused.attachment_id}",
        {"data": {"type": "attachments", "attributes": {"temp_url": url}}},
    )
    assert answer.status == 200


async def by_retry(reused: Reused) -> None:
    """Set the upload to failed, and retry it as an operator does."""
    await reused.send_event()
    await reused.service.execute(
        "UPDATE attachments SET state = 'failed', reason = 'store_unavailable', due_at = NULL"
        " WHERE id = $1",
        int(reused.attachment_id),
    )
    assert (await command(reused.service, "retry", reused.attachment_id)).status == 0


async def by_event_after_the_end(reused: Reused) -> None:
    """Let the second row expire, and then send the late event of the first upload."""
    await reused.service.execute(
        "UPDATE attachments SET state = 'expired', due_at = NULL,"
        " policy_expires_at = now() - interval '1 day' WHERE id = $1",
        int(reused.attachment_id),
    )
    await reused.send_event()


Way = Callable[[Reused], Awaitable[None]]


@pytest.mark.parametrize("way", [by_sweep, by_event, by_patch, by_retry, by_event_after_the_end])
async def test_a_file_of_a_lost_row_is_never_adopted(
    quick: Service, start_worker: StartWorker, way: Way
) -> None:
    reused = await reuse_id(quick, FIRST)
    await way(reused)
    assert await reused.download() is None  # no worker has checked the object yet

    worker = await start_worker(quick, **QUICK)

    async def looked() -> bool:
        assert await reused.download() is None
        assert await reused.download(reused.key.replace("/original/", "/thumb/")) is None
        return "object older than its row" in worker.log()

    await until(looked, within_s=30)

    async def settled() -> bool:
        assert await reused.download() is None
        return (await quick.row(reused.attachment_id)).state in ("pending", "expired")

    await until(settled, within_s=30)
    row = await quick.row(reused.attachment_id)
    assert row.state == ("expired" if way is by_event_after_the_end else "pending")
    assert {name: getattr(row, name) for name in CLEARED} == dict.fromkeys(CLEARED)
    shown = await reused.second.show(reused.attachment_id)
    assert shown["attributes"]["size"] is None
    assert shown["attributes"]["resized"] is False
    assert "?" not in shown["attributes"]["url"]
    assert await reused.object() == FIRST
    if way is by_sweep:
        await runs_on_to_expired(reused)
    else:
        await adopts_a_true_upload(reused, sent=way is not by_patch)


async def runs_on_to_expired(reused: Reused) -> None:
    """Let the policy end; assert that the row becomes `expired` and that the object stays."""
    await reused.service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '1 day', due_at = now()"
        " WHERE id = $1",
        int(reused.attachment_id),
    )
    await reused.second.settled(reused.attachment_id)
    row = await reused.service.row(reused.attachment_id)
    assert (row.state, row.due_at) == ("expired", None)
    assert await reused.download() is None
    assert await reused.object() == FIRST


async def adopts_a_true_upload(reused: Reused, *, sent: bool) -> None:
    """Upload with the second row's policy; assert that the service records this upload."""
    service = reused.service
    await service.execute(
        "UPDATE attachments SET created_at = least(created_at, now()), due_at = coalesce(due_at,"
        " now() + interval '1 second') WHERE id = $1",
        int(reused.attachment_id),
    )
    service.stack.relay.target = service.base_url if sent else None
    assert (await reused.second.post_file(reused.created, SECOND))[0] == 201

    async def ready() -> bool:
        content = await reused.download()
        assert content in (None, SECOND)
        return (await service.row(reused.attachment_id)).state == "ready" and content == SECOND

    await until(ready, within_s=30)
    assert (await service.row(reused.attachment_id)).resized


async def test_an_object_adopted_by_an_earlier_release_is_dropped_at_the_next_check(
    quick: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(quick, FIRST)
    await reused.send_event()
    await quick.execute(
        "UPDATE attachments SET state = 'ready', content_type = 'image/jpeg', size = 5,"
        " processed_at = now(), due_at = now() WHERE id = $1",
        int(reused.attachment_id),
    )
    await start_worker(quick, **QUICK)

    async def given_up() -> bool:
        return (await quick.row(reused.attachment_id)).state == "pending"

    await until(given_up, within_s=30)
    row = await quick.row(reused.attachment_id)
    assert (row.content_type, row.size, row.etag) == (None, None, None)
    assert await reused.download() is None


async def test_some_seconds_between_the_two_are_enough(
    quick: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(quick, FIRST, minutes=0, wait_s=MARGIN_S + 3)
    await reused.send_event()
    assert await reused.download() is None
    await start_worker(quick, **QUICK)
    await until(lambda: is_in(quick, reused, "pending"), within_s=30)
    # Here the second row has its true `created_at` (`minutes=0`). So an object that is uploaded now
    # is younger than the row, and the service accepts the object.
    quick.stack.relay.target = quick.base_url
    assert (await reused.second.post_file(reused.created, SECOND))[0] == 201
    await until(lambda: is_in(quick, reused, "ready"), within_s=30)
    assert await reused.download() == SECOND


async def is_in(service: Service, reused: Reused, state: State) -> bool:
    """Return True if the row is in this state."""
    return (await service.row(reused.attachment_id)).state == state


async def test_declared_values_of_the_client_are_kept(
    quick: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(quick, FIRST)
    await quick.execute(
        "UPDATE attachments SET content_type = 'image/webp', size = 77 WHERE id = $1",
        int(reused.attachment_id),
    )
    await reused.send_event()
    await start_worker(quick, **QUICK)
    await until(lambda: is_in(quick, reused, "pending"), within_s=30)
    row = await quick.row(reused.attachment_id)
    assert (row.content_type, row.size) == ("image/webp", 77)


async def test_an_older_thumbnail_is_not_the_new_row_s(
    quick: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(quick, FIRST)
    thumbnail = reused.key.replace("/original/", "/thumb/")
    async with open_bucket(quick.stack) as bucket:
        await bucket.put_object(Bucket=quick.settings.s3_bucket, Key=thumbnail, Body=b"old")
    await reused.send_event()
    await quick.execute(
        "UPDATE attachments SET thumbnail_name = 'img.png' WHERE id = $1", int(reused.attachment_id)
    )
    await start_worker(quick, **QUICK)
    await until(lambda: is_in(quick, reused, "pending"), within_s=30)
    assert await reused.download(thumbnail) is None
    assert await reused.object(thumbnail) == b"old"


async def test_an_empty_older_object_is_set_aside_too(
    quick: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(quick, b"")
    await reused.send_event()
    await start_worker(quick, **QUICK)
    await until(lambda: is_in(quick, reused, "pending"), within_s=30)
    assert await reused.download() is None


async def test_a_purge_keeps_objects_older_than_the_row(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(**QUICK, retention="0")
    reused = await reuse_id(service, FIRST)
    thumbnail = reused.key.replace("/original/", "/thumb/")
    async with open_bucket(service.stack) as bucket:
        await bucket.put_object(Bucket=service.settings.s3_bucket, Key=thumbnail, Body=b"old")
    own = await service.client.upload(SECOND)
    path = "/api/v2/attachments"
    assert (await reused.second.request("DELETE", f"{path}/{reused.attachment_id}")).status == 204
    assert (await service.client.request("DELETE", f"{path}/{own}")).status == 204
    await service.execute("UPDATE attachments SET due_at = now(), thumbnail_name = 'img.png'")
    await start_worker(service, **QUICK)

    async def purged() -> bool:
        rows = await service.database.fetch("SELECT 1 FROM attachments WHERE due_at IS NOT NULL")
        return not rows

    await until(purged, within_s=30)
    assert await reused.object() == FIRST
    assert await reused.object(thumbnail) == b"old"
    assert await reused.object((await service.row(own)).key) is None


async def test_a_store_without_a_readable_owner_serves_nothing_yet(quick: Service) -> None:
    reused = await reuse_id(quick, FIRST)
    await reused.send_event()
    before = refused(quick)
    assert await reused.download() is None
    assert refused(quick) == before + 1


def refused(service: Service) -> float:
    """Return the metric that counts objects that are older than their rows."""
    (line,) = (
        line
        for line in service.metrics().splitlines()
        if line.startswith("attachments_older_objects_total ")
    )
    return float(line.split()[1])


async def test_a_newer_upload_wins_over_the_setting_aside(quick: Service) -> None:
    reused = await reuse_id(quick, FIRST)
    await reused.send_event()
    row = await quick.row(reused.attachment_id)
    async with quick.database.acquire() as connection:
        claim = await lifecycle.claim(connection, row.id, row.revision, lease_s=30)
        assert claim is not None
        event = UploadEvent(bucket=row.bucket, key=row.key, etag="newer")
        await lifecycle.record_uploads(connection, [event], publish_grace_s=15)
        assert (
            await older_objects.set_aside(connection, claim, revision=row.revision, next_check_s=75)
            is None
        )
        found = await find_any(connection, row.id)
        assert found is not None
        assert (found.state, found.revision) == ("processing", row.revision + 1)
        assert await older_objects.settle_older(connection, row, next_check_s=75) is None
