"""No organization can use all connections, so the API still serves other organizations."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from api.readers import LONG_BYTES, RECEIVED_EACH
from shared.shares import WAITING, open_shares, share_of, split_pool
from tests.support.resources import PATH
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, make_settings, until
from tests.support.stack import EVENTS_TOKEN, Stack
from tests.support.starting import StartService

BULK = f"{MEDIA_TYPE}; ext=bulk"


@asynccontextmanager
async def locked(service: Service, attachment_id: str) -> AsyncIterator[None]:
    """Lock an attachment's row in the block, so that every statement that changes the row waits."""
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM attachments WHERE id = $1 FOR UPDATE", int(attachment_id)
        )
        yield


def renamed(client: Client, attachment_id: str) -> "asyncio.Task[Answer]":
    """Start a request that renames an attachment."""
    attributes = {"name": "other.png"}
    document = {"data": {"type": "attachments", "id": attachment_id, "attributes": attributes}}
    return asyncio.create_task(client.request("PATCH", f"{PATH}/{attachment_id}", document))


async def waiting(service: Service) -> int:
    """Return the number of statements that wait for a lock."""
    return int(
        await service.database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


def long_bulk(client: Client) -> bytes:
    """Return the bytes of a bulk request that is longer than LONG_BYTES."""
    resource = {"type": "attachments", "attributes": {"name": "a.png"}, "meta": {"x": "y" * 900}}
    body = json.dumps({"data": [resource] * 100}).encode()
    assert len(body) > LONG_BYTES
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: {BULK}\r\nAccept: {BULK}\r\nConnection: close\r\n"
        f"X-Auth-Token: {client.token}\r\nX-Organization-Id: {client.organization_id}\r\n\r\n"
    )
    return head.encode() + body


async def status_of_bulk(client: Client) -> int:
    """Send a long bulk request, and return the status of the answer."""
    url = URL(client.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    sent = long_bulk(client)
    # The last byte is sent later, because a body that arrives complete needs no slot.
    writer.write(sent[:-1])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(sent[-1:])
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_bodies_that_one_organization_does_not_end_keep_no_other_from_sending(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.bodies.READ_TIMEOUT_S", 120)
    other, url = await service.organization(), URL(service.base_url)
    assert await status_of_bulk(service.client) == 201
    held = []
    for _ in range(RECEIVED_EACH):
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(long_bulk(service.client)[:-1])
        held.append(writer)

    async def is_full() -> bool:
        return await status_of_bulk(service.client) == 429

    await until(is_full, within_s=60)
    assert await status_of_bulk(other) == 201
    assert (await service.client.create("a.png"))["data"]["id"]
    for writer in held:
        writer.close()

    async def is_free() -> bool:
        return await status_of_bulk(service.client) == 201

    await until(is_free, within_s=30)


@pytest.mark.parametrize("pool", [2, 3, 10])
async def test_an_organization_that_fills_its_share_keeps_no_one_waiting(
    start_service: StartService, pool: int
) -> None:
    service = await start_service(database_pool=str(pool))
    other = await service.organization()
    created = await service.client.create("a.png")
    clients, _ = split_pool(pool)
    share = share_of(clients)
    async with locked(service, created["data"]["id"]):
        held = [renamed(service.client, created["data"]["id"]) for _ in range(30)]

        async def is_full() -> bool:
            return await waiting(service) == share

        await until(is_full)
        key = created["data"]["attributes"]["aws_policy"]["key"]
        # If clients have only one connection, the other organization has to wait.
        if clients > 1:
            assert (await other.create("b.png"))["data"]["id"]
        assert (await service.client.request("GET", "/health/ready")).status == 200
        answer = await service.client.request("GET", PATH, headers={"X-Auth-Token": "unknown"})
        assert answer.status == 401
        event = {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": service.settings.s3_bucket},
                "object": {"key": key.replace("a.png", "none.png"), "size": 1, "eTag": "e"},
            },
        }
        answer = await service.client.request(
            "POST",
            "/events/s3",
            {"Records": [event]},
            headers={"Authorization": f"Bearer {EVENTS_TOKEN}", "X-Auth-Token": ""},
        )
        assert answer.status == 200
        assert await waiting(service) == share
    assert {(await task).status for task in held} <= {200, 429, 503}


async def test_creates_that_wait_for_a_quota_keep_no_one_waiting(
    start_service: StartService,
) -> None:
    service = await start_service(quota_attachments="100")
    client, other = service.client, await service.organization()
    await client.create("a.png")
    await other.create("a.png")
    share = share_of(split_pool(service.settings.database_pool)[0])
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM organizations WHERE id = $1 FOR UPDATE", client.organization_id
        )
        document = {"data": {"type": "attachments", "attributes": {"name": "b.png"}}}
        held = [
            asyncio.create_task(client.request("POST", PATH, document)) for _ in range(3 * share)
        ]

        async def is_full() -> bool:
            return await waiting(service) == share

        await until(is_full)
        assert (await other.create("b.png"))["data"]["id"]
        assert (await other.request("GET", "/api/v2/usage")).status == 200
        assert await waiting(service) == share
    assert {(await task).status for task in held} <= {201, 429, 503}


async def test_too_many_statements_of_one_organization_are_429(
    start_service: StartService,
) -> None:
    service = await start_service(database_pool="4")
    other = await service.organization()
    created = await service.client.create("a.png")
    connector = service.client.session.connector
    assert connector is not None
    # Allow any number of connections. `_limit` is private in aiohttp, which has no public way to
    # change an open connector.
    connector._limit = 0
    async with locked(service, created["data"]["id"]):
        held = [renamed(service.client, created["data"]["id"]) for _ in range(WAITING + 50)]
        done, _ = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        answer = done.pop().result()
        assert answer.status == 429
        assert answer.document["errors"][0]["title"] == "Too Many Requests"
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await other.create("b.png"))["data"]["id"]
    await asyncio.gather(*held)


@pytest.mark.parametrize("pool", [2, 3, 10, 100])
async def test_both_pools_have_together_as_many_connections_as_are_set(
    stack: Stack, database_url: str, pool: int
) -> None:
    settings = make_settings(stack.environment(database_url)).model_copy(
        update={"database_pool": pool}
    )
    async with open_shares(settings) as (clients, others):
        sizes = clients.whole.pool.get_max_size(), others.whole.pool.get_max_size()
    assert sum(sizes) == pool
    assert min(sizes) >= 1
