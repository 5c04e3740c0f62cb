"""Real nginx and haproxy: idle connections, restarts, long names, client addresses."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.support.balancers import Balancer, running_balancer
from tests.support.resources import PATH, body
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.starting import Launch

pytestmark = [pytest.mark.fault, pytest.mark.parametrize("program", ["nginx", "haproxy"])]

CLIENTS = 8


def port_of(api: ApiProcess) -> int:
    """Return the port of an API process."""
    return int(api.url.rpartition(":")[2])


class Load:
    """Clients that create attachments through a load balancer, with pauses, until they
    are stopped.
    """

    def __init__(self, service: Service, url: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.running = True
        self._service = service
        self._url = f"{url}{PATH}"

    async def client(self, number: int) -> None:
        """Create attachments with pauses.

        Every second pause is so long that connections become idle.
        """
        client = self._service.client
        headers = {
            "X-Auth-Token": client.token,
            "X-Organization-Id": str(client.organization_id),
            "Content-Type": "application/vnd.api+json",
        }
        content = json.dumps(body({"name": "a.png"})).encode()
        async with aiohttp.ClientSession(headers=headers) as session:
            count = number
            while self.running:
                async with session.post(self._url, data=content) as answer:
                    await answer.read()
                    self.statuses[answer.status] += 1
                count += 1
                await asyncio.sleep((0, 0.05, 0.3, 0, 1.02)[count % 5])


@asynccontextmanager
async def under_load(service: Service, url: str) -> AsyncIterator[Load]:
    """Run clients in the block; assert that each of their requests was answered with 201."""
    load = Load(service, url)
    clients = [asyncio.create_task(load.client(number)) for number in range(CLIENTS)]
    try:
        yield load
    finally:
        load.running = False
        await asyncio.gather(*clients)
    assert set(load.statuses) == {201}, load.statuses


async def more(load: Load, count: int) -> None:
    """Wait until the clients have got `count` more answers."""
    before = load.statuses.total()
    await until(lambda: asyncio.sleep(0, load.statuses.total() >= before + count), within_s=60)


SHORT_IDLE = {
    "nginx": ("keepalive_timeout 60s", "keepalive_timeout 1s"),
    "haproxy": ("pool-purge-delay 30s", "pool-purge-delay 1s"),
}


async def test_a_pool_with_short_idle_times_loses_nothing(
    service: Service, launch: Launch, program: Balancer, tmp_path: Path
) -> None:
    api = await launch(ApiProcess(service.environment, keep_alive="2"))

    async with (
        running_balancer(program, tmp_path, [port_of(api)], [SHORT_IDLE[program]]) as url,
        under_load(service, url) as load,
    ):
        await more(load, 200)


async def test_restarts_one_after_the_other_lose_nothing(
    service: Service, launch: Launch, program: Balancer, tmp_path: Path
) -> None:
    apis = [await launch(ApiProcess(service.environment)) for _ in range(2)]

    async with (
        running_balancer(program, tmp_path, [port_of(api) for api in apis]) as url,
        under_load(service, url) as load,
    ):
        await more(load, 50)
        for api in apis * 2:
            assert await api.stop() == 0
            await more(load, 30)
            await api.start()
            await more(load, 30)
            # haproxy checks every two seconds whether a stopped API runs again.
            await asyncio.sleep(3)


async def test_the_clients_address_does_not_depend_on_its_claims(
    service: Service, launch: Launch, program: Balancer, tmp_path: Path
) -> None:
    api = await launch(
        ApiProcess(
            service.environment,
            log_format="json",
            trusted_proxies="127.0.0.1",
            hosts="api.example",
            api_host="127.0.0.1",
        )
    )
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "81",
        "Host": "api.example",
        "Content-Type": "application/vnd.api+json",
    }
    client = service.client
    known = {"X-Auth-Token": client.token, "X-Organization-Id": str(client.organization_id)}
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        running_balancer(program, tmp_path, [port_of(api)]) as url,
        aiohttp.ClientSession(connector=connector, headers=claims) as session,
    ):
        async with session.get(f"{url}{PATH}") as answer:
            assert answer.status == 401
        content = json.dumps(body({"name": "a.png"})).encode()
        async with session.post(f"{url}{PATH}", data=content, headers=known) as answer:
            assert answer.status == 201
            document = await answer.json()
            assert answer.headers["Location"].startswith("https://api.example/api/v2/")
            assert document["data"]["attributes"]["url"].startswith("https://api.example/")

    def denied() -> list[str]:
        lines = [json.loads(line) for line in api.log().splitlines() if line.startswith("{")]
        return [line["address"] for line in lines if line["event"] == "authentication failed"]

    await until(lambda: asyncio.sleep(0, denied()))
    assert denied() == ["127.0.0.2"]


async def test_long_names_and_other_heads_pass(
    service: Service, launch: Launch, program: Balancer, tmp_path: Path
) -> None:
    api = await launch(ApiProcess(service.environment))
    client = service.client
    async with running_balancer(program, tmp_path, [port_of(api)]) as url:
        client.base_url = url
        attachment_id = await client.upload(b"text", "𝒜👩‍👩‍👧‍👦" * 31 + ".txt")
        await service.execute(
            "UPDATE attachments SET uploaded_at = now(), state = 'ready',"
            " content_type = 'text/plain; charset=utf-8' WHERE id = $1",
            int(attachment_id),
        )
        shown: Any = (await client.show(attachment_id))["attributes"]
        target = URL(shown["url"], encoded=True).raw_path_qs
        for method in ("GET", "HEAD"):
            answer = await client.request(method, target, headers={"X-Auth-Token": ""})
            assert answer.status == 302
            location = URL(answer.headers["Location"], encoded=True)
            async with client.session.request(method, location) as file:
                assert file.status == 200
        for method in ("GET", "HEAD"):
            assert (await client.request(method, "/health/ready")).status == 200
        long_query = await client.request("GET", f"{PATH}?{'a' * 7000}=1")
        assert long_query.status in (200, 400)
