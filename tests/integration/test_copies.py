"""Copies that a `temp_url` asks for: bounded by organization, and large ones made by workers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from api.temp_urls.copying import COPIES_EACH
from shared import copies, copy_claims, counting, lifecycle, older_objects
from shared.attachments import Attachment
from shared.copies import Wanted
from shared.due import take_due
from shared.errors import StoreRefused
from shared.lifecycle import COPY_ATTEMPTS, Claim, Outcome
from shared.notifications import UploadEvent
from shared.storage import Storage
from tests.data.images import gradient_photo
from tests.support.objects import store_proxy
from tests.support.proxy import Proxy
from tests.support.resources import open_bucket
from tests.support.service import MEDIA_TYPE, Answer, ApiProcess, Client, Service, until
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService, StartWorker
from worker.copying import COPY_TIMEOUT_S

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PATH = "/api/v2/attachments"


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every copy to workers."""
    monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 0)


async def source(bucket: "S3Client", service: Service, name: str, content: bytes) -> str:
    """Store an object to copy from; returns its address."""
    key = f"uploads/{name}"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"{service.settings.upload_url}/{key}"


async def copied(service: Service, url: str, name: str = "photo.jpg") -> Any:
    """Create an attachment from a source; returns its resource."""
    return (await service.client.create(name, temp_url=url))["data"]


@pytest.mark.usefixtures("all_are_large")
async def test_a_large_source_is_copied_by_a_worker_after_the_answer(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "large.jpg", gradient_photo())
    resource = await copied(service, url)
    assert resource["attributes"]["temp_url"] == url
    assert resource["meta"]["state"] == "pending"
    row = await service.row(resource["id"])
    assert (row.copy_bucket, row.copy_key) == (BUCKET, "uploads/large.jpg")
    await start_worker(service, publish_grace="1", sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    assert done["attributes"]["temp_url"] == url
    row = await service.row(resource["id"])
    assert (row.copy_key, row.copy_attempt % COPY_ATTEMPTS) == (None, 1)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("then", ["deleted", "replaced"])
async def test_a_source_that_is_gone_when_the_worker_comes_is_source_missing(
    service: Service, bucket: "S3Client", start_worker: StartWorker, then: str
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, f"{then}.jpg", gradient_photo())
    resource = await copied(service, url)
    if then == "deleted":
        await bucket.delete_object(Bucket=BUCKET, Key=f"uploads/{then}.jpg")
    else:
        await source(bucket, service, f"{then}.jpg", b"another")
    await service.execute("UPDATE attachments SET due_at = now()")
    await start_worker(service, sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "failed"
    assert done["meta"]["reason"]["code"] == "source_missing"


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("closing", ["uploads/in/{organization_id}/", "elsewhere/"])
async def test_a_worker_copies_nothing_from_a_place_that_was_closed_since(
    service: Service, bucket: "S3Client", start_worker: StartWorker, closing: str
) -> None:
    service.stack.relay.target = None
    url = await source(bucket, service, "closed.jpg", gradient_photo())
    resource = await copied(service, url)
    await service.execute("UPDATE attachments SET due_at = now()")
    await start_worker(service, sweep_interval="0.5", temp_url_buckets=f"{BUCKET}/{closing}")
    done = await service.client.settled(resource["id"])
    assert (done["meta"]["state"], done["meta"]["reason"]["code"]) == ("failed", "copy_failed")
    listed = await bucket.list_objects_v2(
        Bucket=BUCKET, Prefix=(await service.row(resource["id"])).key
    )
    assert listed["KeyCount"] == 0


@pytest.mark.usefixtures("all_are_large")
async def test_a_copy_by_a_worker_has_the_type_of_the_public_mode(
    start_service: StartService, bucket: "S3Client", start_worker: StartWorker
) -> None:
    service = await start_service(files_public="true", files_url="https://files.example")
    key = "uploads/page.jpg"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=gradient_photo(), ContentType="text/html")
    url = f"{service.settings.upload_url}/{key}"
    resource = await copied(service, url, "page.jpg")
    await start_worker(service, publish_grace="1", sweep_interval="0.5")
    done = await service.client.settled(resource["id"])
    assert done["meta"]["state"] == "ready"
    found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(resource["id"])).key)
    assert found["ContentType"] == "image/jpeg"


async def test_a_copy_that_failed_counts_no_bytes(service: Service) -> None:
    assert (await service.client.request("GET", "/api/v2/usage")).status == 200
    row = await asked(service)

    async def used() -> Any:
        answer = await service.client.request("GET", "/api/v2/usage")
        return answer.data["attributes"]["bytes"]

    async with service.database.acquire() as connection:
        await connection.execute("UPDATE attachments SET promised_bytes = 1000")
        assert await used() == 1000
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        assert await copy_claims.fail(connection, claim, reason="copy_failed")
        failed = await service.row(row.id)
        assert (failed.state, failed.counted_bytes) == ("failed", 0)
        assert await used() == 0
        assert not any((await counting.recount(connection, row.organization_id)).values())


@pytest.mark.usefixtures("all_are_large")
async def test_a_newer_upload_is_not_overwritten_by_an_older_copy(
    service: Service, bucket: "S3Client", start_worker: StartWorker
) -> None:
    url = await source(bucket, service, "older.jpg", b"older")
    created = await service.client.create("photo.jpg", temp_url=url)
    attachment_id = created["data"]["id"]
    status, _ = await service.client.post_file(created, gradient_photo())
    assert status == 201

    async def uploaded() -> bool:
        return (await service.row(attachment_id)).state == "uploaded"

    await until(uploaded)
    await start_worker(service, sweep_interval="0.5")
    await service.client.settled(attachment_id)
    await service.execute("UPDATE attachments SET due_at = now()")

    async def dropped() -> bool:
        return (await service.row(attachment_id)).copy_key is None

    await until(dropped)
    found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(attachment_id)).key)
    assert found["ContentLength"] == len(gradient_photo())


def wanted(key: str = "uploads/none") -> Wanted:
    """Name what is not there."""
    return Wanted(bucket=BUCKET, key=key, etag="e", temp_url=f"http://h/{key}")


async def asked(service: Service) -> Attachment:
    """Ask for a copy of what is not there."""
    created = await service.client.create("a.png")
    row = await service.row(created["data"]["id"])
    async with service.database.acquire() as connection:
        found = await copies.ask(connection, row, wanted(), grace_s=0)
    assert found is not None
    return found


async def test_a_copy_is_claimed_by_one_and_fenced(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        claims = [
            await copy_claims.claim(connection, row.id, None, lease_s=30),
            await copy_claims.claim(connection, row.id, None, lease_s=30),
            await copy_claims.claim(connection, row.id, row.copy_attempt, lease_s=30),
        ]
        assert [claim is not None for claim in claims] == [True, False, False]
        first = claims[0]
        assert first is not None
        assert await copy_claims.renew(connection, first, lease_s=30)
        second = await copy_claims.claim(connection, row.id, first.copy_attempt, lease_s=30)
        assert second is not None
        assert not await copy_claims.renew(connection, first, lease_s=30)
        assert not await copy_claims.finish(connection, first, "e")
        assert not await copy_claims.release(connection, first, delay_s=0)
        assert not await copy_claims.fail(connection, first, reason="copy_failed")
        assert await copies.ask(connection, row, wanted("b"), grace_s=0)
        assert not await copy_claims.finish(connection, second, "e")
        third = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert third is not None
        assert third.copy_key == "b"
        assert await copy_claims.finish(connection, third, "e")
        assert await copy_claims.claim(connection, row.id, None, lease_s=30) is None


async def test_a_copy_of_a_lost_row_is_not_that_of_the_row_with_its_id(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        # as far as another organization's row of that id, whose copy is tried for the first time
        await service.execute("UPDATE attachments SET organization_id = organization_id + 1")
        before = await service.row(row.id)
        assert not await copy_claims.renew(connection, claim, lease_s=99)
        await copy_claims.postpone(connection, claim, delay_s=99)
        assert not await copy_claims.release(connection, claim, delay_s=99)
        assert not await copy_claims.finish(connection, claim, "e")
        assert not await copy_claims.fail(connection, claim, reason="copy_failed")
        assert await service.row(row.id) == before


async def test_a_claim_that_is_given_back_counts_no_attempt(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        first = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert first is not None
        assert await copy_claims.release(connection, first, delay_s=0)
        assert not await copy_claims.renew(connection, first, lease_s=30)
        again = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert again is not None
        assert again.copy_attempt % COPY_ATTEMPTS == 1


async def test_the_stores_event_of_a_copy_does_not_overtake_it(service: Service) -> None:
    row = await asked(service)
    event = UploadEvent(bucket=row.bucket, key=row.key, etag="of-the-copy")
    async with service.database.acquire() as connection:
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        await lifecycle.record_uploads(connection, [event], publish_grace_s=15)
        copied = await copy_claims.record(connection, claim, "of-the-copy", publish_grace_s=15)
    assert copied is not None
    assert copied.woken == []
    assert (copied.attachment.state, copied.attachment.copy_key) == ("uploaded", None)


@pytest.mark.parametrize(
    "end", ["finish", "mark_missing", "set_aside", "settle_unchanged", "given_up"]
)
async def test_what_is_to_be_copied_is_due_when_processing_ends(service: Service, end: str) -> None:
    row = await asked(service)
    await service.execute(
        "UPDATE attachments SET state = $2, revision = 1, claimed_revision = 1, attempt = 5,"
        " due_at = now() - interval '1 minute', policy_expires_at = now() - interval '1 day',"
        " copy_revision = 1 WHERE id = $1",
        row.id,
        "ready" if end == "settle_unchanged" else "processing",
    )
    seen = await service.row(row.id)
    claim = Claim(attachment=seen)
    async with service.database.acquire() as connection:
        assert await copy_claims.claim(connection, row.id, None, lease_s=30) is None or (
            end == "settle_unchanged"
        )
        await service.execute("UPDATE attachments SET copy_attempt = 1000 WHERE id = $1", row.id)
        match end:
            case "finish":
                outcome = Outcome(state="ready", etag="e")
                await lifecycle.finish(connection, claim, outcome, revision=1, next_check_s=75)
            case "mark_missing":
                await lifecycle.mark_missing(connection, claim, revision=1, next_check_s=75)
            case "set_aside":
                await older_objects.set_aside(connection, claim, revision=1, next_check_s=75)
            case "settle_unchanged":
                await lifecycle.settle_unchanged(connection, seen)
            case "given_up":
                await take_due(connection, limit=1, lease_s=0, attempts=5)
        due = await connection.fetchval(
            "SELECT due_at <= now() FROM attachments WHERE id = $1", row.id
        )
        assert due is True
        assert (await service.row(row.id)).state != "processing"
        assert await copy_claims.claim(connection, row.id, 1000, lease_s=30)


async def test_a_deleted_row_is_not_purged_while_the_store_may_copy_to_it(
    start_service: StartService,
) -> None:
    service = await start_service(retention="0")
    row = await asked(service)
    await service.execute("UPDATE attachments SET policy_expires_at = now() - interval '1 day'")
    assert (await service.client.request("DELETE", f"{PATH}/{row.id}")).status == 204
    left_s = await service.database.fetchval(
        "SELECT extract(epoch FROM due_at - now())::float8 FROM attachments WHERE id = $1", row.id
    )
    assert left_s > COPY_TIMEOUT_S


# --- within requests -------------------------------------------------------------------------


BULK = f"{MEDIA_TYPE}; ext=bulk"


async def create_many(client: Client, url: str, count: int) -> Answer:
    """Create attachments in bulk, each of which is a copy."""
    item = {"type": "attachments", "attributes": {"name": "photo.jpg", "temp_url": url}}
    return await client.request(
        "POST", PATH, {"data": [item] * count}, headers={"Content-Type": BULK, "Accept": BULK}
    )


async def rows_of(service: Service) -> list[tuple[str, bool]]:
    """Tell of each row its state, and whether something is to be copied to its key."""
    return [
        (row["state"], row["wanted"])
        for row in await service.database.fetch(
            "SELECT state, copy_key IS NOT NULL AS wanted FROM attachments ORDER BY id"
        )
    ]


def is_copy(_link: object, data: bytes) -> bool:
    """Whether a piece of a request asks the store for a copy."""
    return b"x-amz-copy-source" in data.lower()


@pytest_asyncio.fixture
async def slow_store(
    stack: Stack, start_service: StartService
) -> AsyncIterator[tuple[Service, Proxy]]:
    """An API whose store does all but answer to copies."""
    async with store_proxy(stack) as proxy:
        service = await start_service(
            s3_endpoint_url=proxy.url, s3_public_url=f"{stack.seaweedfs.url}/{BUCKET}"
        )
        proxy.lose(is_copy)
        yield service, proxy


async def test_small_copies_of_a_bulk_request_are_made_within_it(
    service: Service, bucket: "S3Client"
) -> None:
    url = await source(bucket, service, "bulk.jpg", gradient_photo())
    answer = await create_many(service.client, url, 5)
    assert answer.status == 201
    assert {item["meta"]["state"] for item in answer.data} == {"uploaded"}
    assert await rows_of(service) == [("uploaded", False)] * 5
    for item in answer.data:
        found = await bucket.head_object(Bucket=BUCKET, Key=(await service.row(item["id"])).key)
        assert found["ContentLength"] == len(gradient_photo())


async def test_too_many_copies_are_refused_before_any_row_is_inserted(
    start_service: StartService, bucket: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.temp_urls.copying.COPIES_WAITING", 3)
    service = await start_service()
    url = await source(bucket, service, "many.jpg", gradient_photo())
    answer = await create_many(service.client, url, 4)
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert await rows_of(service) == []
    assert (await create_many(service.client, url, 3)).status == 201


async def test_without_credentials_no_row_is_inserted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(_self: Storage) -> None:
        raise StoreRefused("there are no AWS credentials")

    monkeypatch.setattr(Storage, "credentials", none)
    body = {"data": {"type": "attachments", "attributes": {"name": "a.png"}}}
    assert (await service.client.request("POST", PATH, body)).status == 503
    assert await rows_of(service) == []


@pytest.mark.parametrize("fault", ["silent", "refused", "cut"])
async def test_copies_that_cannot_be_made_at_once_are_left_to_workers(
    slow_store: tuple[Service, Proxy],
    bucket: "S3Client",
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    service, proxy = slow_store
    service.stack.relay.target = None
    monkeypatch.setattr("api.temp_urls.copying.COPY_TIMEOUT_S", 1.0)
    url = await source(bucket, service, f"{fault}.jpg", gradient_photo())
    if fault == "refused":

        async def refuse(*_: Any, **__: Any) -> str:
            raise StoreRefused("AccessDenied")

        monkeypatch.setattr(Storage, "copy", refuse)
    if fault == "cut":

        def cut(link: Any, data: bytes) -> bool:
            if is_copy(link, data):
                link.reset()
            return False

        proxy.lose(cut)
    answer = await create_many(service.client, url, 3)
    assert answer.status == 201, answer.body
    assert [item["meta"]["state"] for item in answer.data] == ["pending"] * 3
    assert [item["attributes"]["temp_url"] for item in answer.data] == [url] * 3
    assert await rows_of(service) == [("pending", True)] * 3
    worker_settings = {"s3_endpoint_url": service.stack.seaweedfs.url}
    await service.execute("UPDATE attachments SET due_at = now()")
    await start_worker(service, sweep_interval="0.5", **worker_settings)
    for item in answer.data:
        assert (await service.client.settled(item["id"]))["meta"]["state"] == "ready"


async def test_copies_that_get_no_turn_are_left_to_workers(
    stack: Stack,
    start_service: StartService,
    bucket: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.temp_urls.copying.COPY_WAIT_S", 0.2)
    monkeypatch.setattr("api.temp_urls.copying.COPY_TIMEOUT_S", 3.0)
    async with store_proxy(stack) as proxy:
        service = await start_service(
            s3_endpoint_url=proxy.url, s3_public_url=f"{stack.seaweedfs.url}/{BUCKET}"
        )
        proxy.lose(is_copy)
        url = await source(bucket, service, "no-turn.jpg", gradient_photo())
        answer = await create_many(service.client, url, COPIES_EACH + 1)
        attempts = await service.database.fetch("SELECT copy_attempt FROM attachments ORDER BY 1")
    assert answer.status == 201
    # given back by two, never claimed by the third
    assert [row[0] for row in attempts] == [COPY_ATTEMPTS] + [2 * COPY_ATTEMPTS] * COPIES_EACH


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "state", ["pending", "uploaded", "processing", "ready", "rejected", "failed", "expired"]
)
async def test_a_temp_url_may_be_patched_onto_any_state(
    service: Service,
    bucket: "S3Client",
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    large: bool,
) -> None:
    service.stack.relay.target = None
    if large:
        monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 0)
    url = await source(bucket, service, f"onto-{state}.jpg", gradient_photo())
    created = await service.client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    if state not in ("pending", "expired"):
        assert (await service.client.post_file(created, b"an older file"))[0] == 201
        own = f"{service.settings.upload_url}/{(await service.row(attachment_id)).key}"
        await patched(service, attachment_id, temp_url=own)
    await service.execute(
        "UPDATE attachments SET state = $1, due_at = now() + interval '1 second',"
        " claimed_revision = revision, attempt = 1",
        state,
    )
    answer = await patched(service, attachment_id, temp_url=url, name="renamed.jpg")
    assert answer.data["attributes"]["temp_url"] == url
    assert answer.data["attributes"]["name"] == "renamed.jpg"
    at_once = not large and state != "processing"
    assert answer.data["meta"]["state"] == ("uploaded" if at_once else state)
    assert (await service.row(attachment_id)).copy_key is None or not at_once

    await start_worker(service, sweep_interval="0.5", publish_grace="1")

    async def copied() -> bool:
        row = await service.row(attachment_id)
        return row.state == "ready" and row.copy_key is None and row.size == len(gradient_photo())

    await until(copied, within_s=30)
    shown = await service.client.show(attachment_id)
    assert shown["attributes"]["temp_url"] == url
    assert shown["attributes"]["resized"] is True


async def patched(service: Service, attachment_id: str, **attributes: Any) -> Answer:
    """Change an attachment, which must be possible."""
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


async def test_one_organizations_copies_leave_places_to_another(
    slow_store: tuple[Service, Proxy], bucket: "S3Client"
) -> None:
    service, proxy = slow_store
    slow = await source(bucket, service, "slow.jpg", gradient_photo())
    fast = await source(bucket, service, "fast.jpg", gradient_photo())
    proxy.lose(lambda link, data: is_copy(link, data) and b"slow.jpg" in data)
    other = await service.organization()
    many = asyncio.create_task(create_many(service.client, slow, 10))

    async def full() -> bool:
        claimed: int = await service.database.fetchval(
            f"SELECT sum(copy_attempt % {COPY_ATTEMPTS}) FROM attachments"
            " WHERE organization_id = $1",
            service.client.organization_id,
        )
        return claimed == COPIES_EACH

    await until(full)
    created = await other.create("b.jpg", temp_url=fast)
    assert created["data"]["meta"]["state"] == "uploaded"
    assert await full()
    many.cancel()
    await asyncio.gather(many, return_exceptions=True)
