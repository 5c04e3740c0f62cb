"""Copies that workers make: woken, tried again, killed, refused, deleted, in turns, in parts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio

from shared.lifecycle import COPY_ATTEMPTS
from tests.data.images import gradient_photo
from tests.support.objects import store_proxy
from tests.support.proxy import Link, Proxy
from tests.support.resources import open_bucket
from tests.support.service import Client, Service, WorkerProcess, until
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService, StartWorker
from worker.copying import COPIES_EACH

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PATH = "/api/v2/attachments"
MIB = 1024 * 1024
NO_SWEEP = {"sweep_interval": "300", "publish_grace": "300"}


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every copy to workers."""
    monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 0)


@pytest_asyncio.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """What workers know as the store."""
    async with store_proxy(stack) as running:
        yield running


@pytest_asyncio.fixture
async def quiet(service: Service) -> Service:
    """An API that hears no events of the store."""
    service.stack.relay.target = None
    return service


async def wanted(
    service: Service, bucket: "S3Client", name: str, content: bytes, client: Client | None = None
) -> str:
    """Create an attachment that is to be a copy of `content`; returns its id."""
    key = f"uploads/{name}"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    url = f"{service.settings.upload_url}/{key}"
    created = await (client or service.client).create(name, temp_url=url)
    assert created["data"]["meta"]["state"] == "pending"
    return str(created["data"]["id"])


def is_copy(_link: object, data: bytes) -> bool:
    """Whether a piece of a request asks the store for a copy."""
    return b"x-amz-copy-source" in data.lower()


def is_second_part(link: object, data: bytes) -> bool:
    """Whether a piece of a request asks the store to copy the second part."""
    return is_copy(link, data) and b"partNumber=2" in data


def changed(**constants: object) -> dict[str, Any]:
    """Give the program of a worker with other constants, named as `module__NAME`."""
    modules = {"copying": "worker.copying", "part_copies": "shared.part_copies"}
    lines = ["import runpy"]
    for name, value in constants.items():
        module, _, constant = name.partition("__")
        lines += [f"import {modules[module]}", f"{modules[module]}.{constant} = {value}"]
    lines.append("runpy.run_module('worker', run_name='__main__')")
    return {"program": ("-c", "\n".join(lines))}


class Start(Protocol):
    """Starts a worker whose store is the proxy; settings are by lower-case name."""

    def __call__(
        self, service: Service, program: Any = None, **settings: str
    ) -> Awaitable[WorkerProcess]: ...


@pytest_asyncio.fixture
async def start(proxy: Proxy, start_worker: StartWorker) -> AsyncIterator[Start]:
    """Start workers behind the proxy; they end with the test, and the broker begins empty."""
    started: list[WorkerProcess] = []

    async def begin(service: Service, program: Any = None, **settings: str) -> WorkerProcess:
        environment = {**service.environment, "ATTACHMENTS_S3_ENDPOINT_URL": proxy.url}
        worker = WorkerProcess(environment, **(program or {}), **settings)
        started.append(worker)
        return await worker.start()

    yield begin
    for worker in started:
        worker.close()


async def copying(service: Service, attachment_id: str, attempt: int = 1) -> None:
    """Wait until a copy is tried for the `attempt`th time."""

    async def claimed() -> bool:
        return (await service.row(attachment_id)).copy_attempt % COPY_ATTEMPTS == attempt

    await until(claimed, within_s=20)


async def objects(bucket: "S3Client", key: str) -> list[str]:
    """List what the store has under a key: objects and parts of unfinished ones."""
    found = await bucket.list_objects_v2(Bucket=BUCKET, Prefix=key)
    parts = await bucket.list_multipart_uploads(Bucket=BUCKET, Prefix=key)
    return [each["Key"] for each in found.get("Contents", ())] + [
        f"{each['Key']} (parts)" for each in parts.get("Uploads", ())
    ]


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
        return "copy postponed" in worker.log()

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
    proxy.hold()  # the store copies, and its answer does not come
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


async def test_copies_of_one_organization_leave_places_to_another(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    proxy.lose(lambda link, data: is_copy(link, data) and b"held.jpg" in data)
    held = [
        await wanted(quiet, bucket, "held.jpg", gradient_photo()) for _ in range(COPIES_EACH + 3)
    ]
    await quiet.execute("UPDATE attachments SET due_at = now()")
    worker = await start(quiet, sweep_interval="0.5")

    async def full() -> bool:
        rows = [await quiet.row(attachment_id) for attachment_id in held]
        return sum(row.copy_attempt % COPY_ATTEMPTS for row in rows) == COPIES_EACH

    await until(full)
    other = await quiet.organization()
    attachment_id = await wanted(quiet, bucket, "other.jpg", gradient_photo(), other)
    assert (await other.settled(attachment_id))["meta"]["state"] == "ready"
    assert await full()
    worker.close()


async def test_what_may_not_wait_here_comes_again_later(
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

    await until(two_are, within_s=60)  # a claim may be made again after its lease of 30 s
    worker.close()


# --- in parts --------------------------------------------------------------------------------

IN_PARTS = changed(part_copies__IN_ONE_BYTES=5 * MIB, part_copies__PART_BYTES=5 * MIB)


async def test_a_large_object_is_copied_in_parts(
    quiet: Service, bucket: "S3Client", start: Start
) -> None:
    content = bytes(range(256)) * (12 * MIB // 256) + b"end"
    attachment_id = await wanted(quiet, bucket, "parts.bin", content)
    worker = await start(quiet, IN_PARTS, sweep_interval="0.5")
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(content)
    row = await quiet.row(attachment_id)
    assert row.etag is not None
    assert row.etag.endswith("-3")
    found = await bucket.get_object(Bucket=BUCKET, Key=row.key)
    assert await found["Body"].read() == content
    assert await objects(bucket, row.key) == [row.key]


async def test_a_source_that_changes_while_its_parts_are_copied_is_source_missing(
    quiet: Service, bucket: "S3Client", proxy: Proxy, start: Start
) -> None:
    attachment_id = await wanted(quiet, bucket, "changing.bin", bytes(12 * MIB))
    lost = asyncio.Event()

    def second_part(link: Link, data: bytes) -> bool:
        if not is_second_part(link, data):
            return False
        lost.set()
        return True

    proxy.lose(second_part)
    program = changed(
        part_copies__IN_ONE_BYTES=5 * MIB,
        part_copies__PART_BYTES=5 * MIB,
        copying__COPY_TIMEOUT_S=2,
    )
    worker = await start(quiet, program, sweep_interval="0.5")
    async with asyncio.timeout(20):
        await lost.wait()  # so the first part is of the source as it was
    await bucket.put_object(Bucket=BUCKET, Key="uploads/changing.bin", Body=bytes(13 * MIB))
    proxy.let_go()
    shown = await quiet.client.settled(attachment_id)
    worker.close()
    assert shown["meta"]["reason"]["code"] == "source_missing"
    assert await objects(bucket, (await quiet.row(attachment_id)).key) == []


@pytest.mark.parametrize("then", ["another worker", "deletion"])
async def test_parts_that_a_killed_worker_left_are_removed(
    quiet: Service,
    bucket: "S3Client",
    proxy: Proxy,
    start: Start,
    start_worker: StartWorker,
    then: str,
) -> None:
    attachment_id = await wanted(quiet, bucket, "left.bin", bytes(12 * MIB))
    key = (await quiet.row(attachment_id)).key
    proxy.lose(is_second_part)
    killed = await start(quiet, IN_PARTS, lease="2")

    async def begun() -> bool:
        return await objects(bucket, key) == [f"{key} (parts)"]

    await until(begun)
    killed.close()
    assert await begun()
    if then == "deletion":
        await quiet.client.request("DELETE", f"{PATH}/{attachment_id}")
        await quiet.execute("UPDATE attachments SET due_at = now()")
        await start_worker(quiet, sweep_interval="0.5")

        async def purged() -> bool:
            return (await quiet.row(attachment_id)).due_at is None

        await until(purged)
        assert await objects(bucket, key) == []
    else:
        proxy.let_go()
        worker = await start(quiet, IN_PARTS, sweep_interval="0.5")
        assert (await quiet.client.settled(attachment_id))["meta"]["state"] == "ready"
        worker.close()
        assert await objects(bucket, key) == [key]
