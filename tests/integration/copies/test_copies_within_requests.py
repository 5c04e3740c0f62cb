"""Copies that the API makes before it answers a request, and copies that it leaves to workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from api.temp_urls.copying import COPIES_EACH
from shared.errors import StoreRefused
from shared.lifecycle import COPY_ATTEMPTS
from shared.storage import Storage
from tests.data.images import gradient_photo
from tests.support.copies import PATH, create_many, is_copy, source
from tests.support.objects import store_proxy
from tests.support.proxy import Proxy
from tests.support.service import Service, until
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def rows_of(service: Service) -> list[tuple[str, bool]]:
    """Return the state of each row, and True if a copy is still requested for the row."""
    return [
        (row["state"], row["wanted"])
        for row in await service.database.fetch(
            "SELECT state, copy_key IS NOT NULL AS wanted FROM attachments ORDER BY id"
        )
    ]


@pytest_asyncio.fixture
async def slow_store(
    stack: Stack, start_service: StartService
) -> AsyncIterator[tuple[Service, Proxy]]:
    """Start an API whose store never answers requests for copies."""
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
    # COPIES_EACH copies were claimed and released. One more copy was never claimed.
    assert [row[0] for row in attempts] == [COPY_ATTEMPTS] + [2 * COPY_ATTEMPTS] * COPIES_EACH


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
