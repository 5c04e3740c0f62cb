"""Copies that workers make: wake-ups, retries, crashes, refusals, and turns of organizations."""

from typing import TYPE_CHECKING

import pytest

from shared.lifecycle import COPY_ATTEMPTS
from tests.data.images import gradient_photo
from tests.support.copies import is_copy
from tests.support.proxy import Proxy
from tests.support.resources import PATH
from tests.support.service import Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService, StartWorker
from tests.support.worker_copies import Start, changed, objects, wanted
from worker.copying import COPIES_EACH

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.usefixtures("all_are_large")

NO_SWEEP = {"sweep_interval": "300", "publish_grace": "300"}


async def copying(service: Service, attachment_id: str, attempt: int = 1) -> None:
    """Wait until attempt number `attempt` at the copy has begun."""

    async def claimed() -> bool:
        return (await service.row(attachment_id)).copy_attempt % COPY_ATTEMPTS == attempt

    await until(claimed, within_s=20)


async def test_a_wake_up_alone_has_a_copy_made_and_processed(
    start_service: StartService, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service = await start_service(publish_grace="300")
    service.stack.relay.target = None
    await start_worker(service, **NO_SWEEP)
    attachment_id = await wanted(service, bucket, "woken.jpg", gradient_photo())
    shown = await service.client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["resized"] is True


async def test_a_copy_that_failed_is_tried_again(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    proxy.lose(is_copy)
    attachment_id = await wanted(quiet, bucket, "again.jpg", gradient_photo())
    worker = await start(quiet, changed(copying__COPY_TIMEOUT_S=1), sweep_interval="0.5")

    async def failed() -> bool:
        return "store is unavailable" in worker.log()

    await until(failed)
    proxy.let_go()
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["state"] == "ready"
    assert (await quiet.row(attachment_id)).copy_attempt % COPY_ATTEMPTS == 2


async def test_a_copy_that_keeps_failing_is_copy_failed_after_all_attempts(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    proxy.lose(is_copy)
    attachment_id = await wanted(quiet, bucket, "never.jpg", gradient_photo())
    program = changed(copying__COPY_TIMEOUT_S=1)
    worker = await start(quiet, program, sweep_interval="0.5", attempts="2")
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["state"] == "failed"
    assert shown["meta"]["reason"]["code"] == "copy_failed"
    row = await quiet.row(attachment_id)
    assert (row.copy_key, row.copy_attempt % COPY_ATTEMPTS) == (None, 2)


async def test_a_copy_that_kills_every_worker_is_copy_failed(
    quiet: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    attachment_id = await wanted(quiet, bucket, "deadly.jpg", gradient_photo())
    await quiet.execute(
        "UPDATE attachments SET copy_attempt = copy_attempt + 2, due_at = now() WHERE id = $1",
        int(attachment_id),
    )
    await start_worker(quiet, sweep_interval="0.5", attempts="2")
    shown = await quiet.client.settled(attachment_id)
    assert shown["meta"]["reason"]["code"] == "copy_failed"


async def test_a_copy_of_a_killed_worker_is_made_by_another(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start, start_worker: StartWorker
) -> None:
    proxy.lose(is_copy)
    attachment_id = await wanted(quiet, bucket, "killed.jpg", gradient_photo())
    killed = await start(quiet, lease="2")
    await copying(quiet, attachment_id)
    killed.close()
    await start_worker(quiet, sweep_interval="0.5")
    assert (await quiet.client.settled(attachment_id))["meta"]["state"] == "ready"
    assert (await quiet.row(attachment_id)).copy_attempt % COPY_ATTEMPTS == 2


async def test_a_worker_that_is_stopped_gives_its_copy_back_uncounted(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start, start_worker: StartWorker
) -> None:
    proxy.lose(is_copy)
    attachment_id = await wanted(quiet, bucket, "stopped.jpg", gradient_photo())
    stopped = await start(quiet)
    await copying(quiet, attachment_id)
    assert await stopped.stop() == 0
    stopped.close()
    assert (await quiet.row(attachment_id)).copy_attempt % COPY_ATTEMPTS == 0
    await start_worker(quiet, sweep_interval="0.5")
    assert (await quiet.client.settled(attachment_id))["meta"]["state"] == "ready"


async def test_a_source_outside_the_fences_of_now_is_not_copied(
    quiet: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    attachment_id = await wanted(quiet, bucket, "fenced.jpg", gradient_photo())
    fence = f"{BUCKET}/in/{{organization_id}}/"
    await start_worker(quiet, sweep_interval="0.5", temp_url_buckets=fence)
    shown = await quiet.client.settled(attachment_id)
    assert shown["meta"]["reason"]["code"] == "copy_failed"
    assert await objects(bucket, (await quiet.row(attachment_id)).key) == []


async def test_nothing_is_left_of_a_row_that_is_deleted_while_it_is_copied(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start, start_worker: StartWorker
) -> None:
    attachment_id = await wanted(quiet, bucket, "deleted.jpg", gradient_photo())
    key = (await quiet.row(attachment_id)).key
    proxy.hold()  # the second `lose` drops the store's answer to the copy request
    proxy.lose(lambda _link, _data: False)
    worker = await start(quiet, lease="1")
    proxy.let_go()
    proxy.lose(lambda link, data: b"CopyObjectResult" in data)

    async def made() -> bool:
        return await objects(bucket, key) == [key]

    await until(made)
    assert (await quiet.client.request("DELETE", f"{PATH}/{attachment_id}")).status == 204

    async def overtaken() -> bool:
        return "copy lost its claim" in worker.log()

    await until(overtaken)
    worker.close()
    row = await quiet.row(attachment_id)
    assert (row.state, row.uploaded_at) == ("pending", None)
    await quiet.execute("UPDATE attachments SET due_at = now()")
    await start_worker(quiet, sweep_interval="0.5")

    async def purged() -> bool:
        return (await quiet.row(attachment_id)).due_at is None

    await until(purged)
    assert await objects(bucket, key) == []


async def test_copies_of_two_organizations_leave_places_to_another(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    proxy.lose(lambda link, data: is_copy(link, data) and b"held.jpg" in data)
    second = await quiet.organization()
    held = [
        await wanted(quiet, bucket, "held.jpg", gradient_photo(), client)
        for client in (quiet.client, second)
        for _ in range(COPIES_EACH + 3)
    ]
    await quiet.execute("UPDATE attachments SET due_at = now()")
    worker = await start(quiet, sweep_interval="0.5")

    async def full() -> bool:
        rows = [await quiet.row(attachment_id) for attachment_id in held]
        return sum(row.copy_attempt % COPY_ATTEMPTS for row in rows) == 2 * COPIES_EACH

    await until(full)
    other = await quiet.organization()
    attachment_id = await wanted(quiet, bucket, "other.jpg", gradient_photo(), other)
    assert (await other.settled(attachment_id))["meta"]["state"] == "ready"
    assert await full()
    worker.close()


async def test_a_copy_without_a_place_is_postponed(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    proxy.lose(is_copy)
    ids = [
        await wanted(quiet, bucket, "many.jpg", gradient_photo()) for _ in range(COPIES_EACH + 3)
    ]
    await quiet.execute("UPDATE attachments SET due_at = now()")
    worker = await start(quiet, changed(copying__WAITING=1), sweep_interval="0.5")

    async def postpone() -> int:
        return int(
            await quiet.database.fetchval(
                "SELECT count(*) FROM attachments WHERE due_at > now() + interval '2 minutes'"
            )
        )

    async def two_are() -> bool:
        return await postpone() == len(ids) - COPIES_EACH - 1

    # Wait for longer than a lease (30 s): only then may another worker claim a copy.
    await until(two_are, within_s=60)
    worker.close()
