"""`attachments reconcile` lists and repairs differences, and deletes nothing."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.id_sets import IdSet
from tests.data import images
from tests.support.commands import command, reconciled
from tests.support.lost_rows import own_bucket, reuse_id
from tests.support.resources import open_bucket, stored
from tests.support.service import Service, until
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

PHOTO, OTHER = images.photo(), images.photo(colour=(1, 2, 3))


@pytest_asyncio.fixture
async def alone(stack: Stack, start_service: StartService) -> AsyncIterator[Service]:
    """Start a service with its own bucket."""
    async with own_bucket(stack) as bucket:
        yield await start_service(s3_bucket=bucket)


async def ready(service: Service) -> int:
    """Upload a photo, wait until it is `ready`, and return the attachment's id."""
    attachment_id = await service.client.upload(PHOTO)
    assert (await service.client.settled(attachment_id))["meta"]["state"] == "ready"
    return int(attachment_id)


async def test_no_differences_are_reported_as_none(
    alone: Service, start_worker: StartWorker
) -> None:
    await start_worker(alone)
    await ready(alone)
    status, kinds, document = await reconciled(alone)
    assert (status, kinds) == (0, {})
    assert (document["summary"]["objects"], document["summary"]["rows"]) == (2, 1)
    ended = await command(alone, "reconcile")
    assert (ended.status, ended.out) == (
        0,
        "2 objects and 1 rows: 0 differences, 0 mended, 0 left\n",
    )


async def test_each_difference_is_listed_then_mended(
    alone: Service, start_worker: StartWorker
) -> None:
    await start_worker(alone)
    same, changed, missing, bare, orphan = [await ready(alone) for _ in range(5)]
    alone.stack.relay.target = None  # later events do not reach the service
    rows = {each: await alone.row(each) for each in (same, changed, missing, bare, orphan)}
    name = alone.settings.s3_bucket
    async with open_bucket(alone.stack) as bucket:
        await bucket.put_object(Bucket=name, Key=rows[changed].key, Body=OTHER)
        await bucket.delete_object(Bucket=name, Key=rows[missing].key)
        await bucket.delete_object(Bucket=name, Key=str(rows[bare].thumbnail_key))
    await alone.execute("DELETE FROM attachments WHERE id = $1", orphan)
    await alone.execute("UPDATE attachments SET due_at = NULL")

    status, kinds, document = await reconciled(alone)
    assert status == 1
    assert {each["mended"] for each in document["differences"]} == {False}
    found = {(each["id"], each["kind"]) for each in document["differences"]}
    assert found == {
        (changed, "object_changed"),
        (missing, "object_missing"),
        (bare, "thumbnail_missing"),
        (orphan, "original_without_row"),
        (orphan, "thumbnail_without_row"),
        (orphan, "ids_near_lost_rows"),
    }
    assert (await alone.row(missing)).state == "ready"  # unchanged without `--mend`

    status, _, document = await reconciled(alone, "--mend")
    assert status == 1  # the object without a row cannot be repaired
    assert document["summary"]["left"] == 2
    assert (await alone.row(missing)).reason == "missing"

    async def again() -> bool:
        now = [await alone.row(each) for each in (changed, bare)]
        return all(row.state == "ready" and row.resized for row in now)

    await until(again, within_s=30)
    assert (await alone.row(changed)).etag != rows[changed].etag
    async with open_bucket(alone.stack) as bucket:
        assert await stored(bucket, name, rows[orphan].key) == PHOTO
        assert await stored(bucket, name, str(rows[bare].thumbnail_key)) is not None
    status, kinds, document = await reconciled(alone, "--mend")
    assert set(kinds) == {orphan}


async def test_after_a_loss_ids_go_on_above_and_adopted_files_are_given_up(
    alone: Service, start_worker: StartWorker
) -> None:
    reused = await reuse_id(alone, PHOTO)
    number = int(reused.attachment_id)
    await reused.send_event()
    await alone.execute("UPDATE attachments SET state = 'ready', due_at = NULL")
    await alone.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {number - 5}")

    status, _, document = await reconciled(alone)
    assert status == 1
    found = {(each["id"], each["kind"]) for each in document["differences"]}
    assert found == {(number, "ids_above_sequence"), (number, "older_than_row")}

    status, _, document = await reconciled(alone, "--mend")
    assert (status, document["summary"]["left"]) == (0, 0)
    assert (await alone.row(number)).state == "pending"
    assert await reused.object() == PHOTO
    assert int((await alone.client.create())["data"]["id"]) == (number // 10**6 + 2) * 10**6 + 1
    status, kinds, _ = await reconciled(alone)
    assert (status, kinds) == (1, {number: "older_than_row_unused"})


async def test_ids_go_on_above_lost_rows_also_when_theirs_were_given_again(
    alone: Service, start_worker: StartWorker
) -> None:
    """Rows were lost, and then new attachments got the ids of these rows.

    Other lost rows may have had greater ids, and their policies may still be valid. So the repair
    raises the id sequence far above every known id.
    """
    reused = await reuse_id(alone, PHOTO)
    number = int(reused.attachment_id)
    later = int((await reused.second.create())["data"]["id"])
    assert await alone.database.fetchval("SELECT max(id) FROM attachments") == later > number

    status, _, document = await reconciled(alone)
    found = {(each["id"], each["kind"]) for each in document["differences"]}
    assert (status, found) == (
        1,
        {(number, "older_than_row_unused"), (number, "ids_near_lost_rows")},
    )

    status, _, document = await reconciled(alone, "--mend")
    assert document["summary"]["kinds"]["ids_near_lost_rows"] == {"found": 1, "left": 0}
    raised = (later // 10**6 + 2) * 10**6
    assert int((await alone.client.create())["data"]["id"]) == raised + 1
    # A second repair does not raise the sequence further.
    _, kinds, _ = await reconciled(alone, "--mend")
    assert kinds == {number: "older_than_row_unused"}
    assert int((await alone.client.create())["data"]["id"]) == raised + 2


async def test_a_store_that_refuses_is_named_in_one_line(alone: Service) -> None:
    alone.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    ended = await command(alone, "reconcile")
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert "s3:ListBucket" in line


def test_a_set_of_ids_contains_the_added_ids() -> None:
    ids = IdSet()
    numbers = {0, 1, 7, 8, 4095, 4096, 10**9, 2**63 - 1}
    for each in numbers:
        ids.add(each)
    near = {each + step for each in numbers for step in (-1, 0, 1) if each + step >= 0}
    assert {each for each in near if each in ids} == numbers & near
