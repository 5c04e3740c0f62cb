"""Requests with unknown tokens use no database connection that known callers need."""

import asyncio
import secrets
from typing import Any

import pytest

from api import callers
from shared.tokens import find_caller
from tests.support.noise import PATH, exchange, request
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.starting import StartService


async def test_without_a_token_the_database_is_not_asked(service: Service) -> None:
    async with running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as proxy:
        api = ApiProcess(service.environment, database_url=proxy.url)
        try:
            await api.start()
            proxy.cut()
            assert (await exchange(api, request())).startswith(b"HTTP/1.1 401")
            event = request("/events/s3/no-such-token", method="POST")
            assert (await exchange(api, event)).startswith(b"HTTP/1.1 401")
            unknown = request(PATH, "X-Auth-Token: unknown")
            assert (await exchange(api, unknown)).startswith(b"HTTP/1.1 503")
        finally:
            api.close()


async def test_made_up_tokens_leave_connections_to_known_ones(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(database_pool="4")
    await service.client.create()
    running, most = 0, 0
    real = find_caller

    async def slow(connection: Any, digest: bytes) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.3)
            return await real(connection, digest)
        finally:
            running -= 1

    monkeypatch.setattr(callers, "find_caller", slow)
    strangers = asyncio.gather(
        *(
            service.client.request("GET", PATH, headers={"X-Auth-Token": secrets.token_hex(32)})
            for _ in range(40)
        )
    )

    async def are_looked_up() -> bool:
        return running > 0

    await until(are_looked_up)
    known = [await service.client.request("GET", PATH) for _ in range(5)]
    statuses = {answer.status for answer in await strangers}
    assert {answer.status for answer in known} == {200}
    assert statuses <= {401, 503}
    assert 503 in statuses
    assert most <= 2
