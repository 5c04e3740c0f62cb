"""The rate limit that all API processes of a deployment share through the broker."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from tests.support.resources import PATH
from tests.support.service import Client, Service, until
from tests.support.service_processes import ApiProcess, client_of
from tests.support.starting import Launch, StartService

pytestmark = pytest.mark.fault

LIMIT = 20
PREFIX = "team-a:"


async def two_processes(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> tuple[Service, list[Client]]:
    """Start two API processes of one deployment, and return a client for each."""
    service = await start_service(broker_url=valkey.url, queue_prefix=PREFIX, rate_limit=str(LIMIT))
    other = await launch(ApiProcess(service.environment))
    return service, [service.client, client_of(service, other)]


async def statuses(client: Client, seconds: float) -> Counter[int]:
    """Send requests one after another for some seconds. Count the answers by status."""
    clock, counts = asyncio.get_running_loop().time, Counter[int]()
    end = clock() + seconds
    while clock() < end:
        counts[(await client.request("GET", PATH)).status] += 1
    return counts


async def show_what_is_left(clients: Sequence[Client]) -> list[int]:
    """Send one request to each process, after a pause that makes the full limit available.

    Returns how many further requests each answer allows.
    """
    await asyncio.sleep(0.4)
    answers = [await client.request("GET", PATH) for client in clients]
    return [int(re.findall(r";r=(\d+)", answer.headers["RateLimit"])[0]) for answer in answers]


async def counts_at(client: Any) -> list[str]:
    return [str(key) for key in await client.keys("*") if str(key).startswith(f"{PREFIX}rate:")]


async def reports(client: Any) -> int:
    """Return how many reports of admitted requests the broker has got from the processes."""
    return int((await client.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_two_processes_admit_one_limit_together(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> None:
    _, clients = await two_processes(start_service, launch, valkey)
    clock = asyncio.get_running_loop().time
    began = clock()
    seen = await asyncio.gather(*(statuses(client, 6) for client in clients))
    took_s = clock() - began

    together = sum(seen, Counter[int]())
    assert set(together) == {200, 429}
    # At the beginning, each process may admit a whole limit, because it does not know of the other.
    # Between two reports to the broker, the processes may admit one more limit. Two processes with
    # separate limits would admit 2 * LIMIT * (took_s + 1).
    assert together[200] <= LIMIT * (took_s + 3)
    assert together[200] >= LIMIT * took_s / 2
    assert all(each[200] for each in seen)


async def test_a_process_that_is_alone_gets_the_whole_limit(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> None:
    _, clients = await two_processes(start_service, launch, valkey)

    async def shares() -> bool:
        return max(await show_what_is_left(clients)) < LIMIT / 2

    async def has_all() -> bool:
        return min(await show_what_is_left(clients[:1])) > LIMIT / 2

    await until(shares)
    await until(has_all)


async def test_without_the_broker_each_process_has_its_own_limit(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> None:
    _, clients = await two_processes(start_service, launch, valkey)

    async def shares() -> bool:
        return max(await show_what_is_left(clients)) < LIMIT / 2

    async def own() -> bool:
        return min(await show_what_is_left(clients)) > LIMIT / 2

    await until(shares)
    await valkey.stop()
    await until(own)
    assert [client for client in clients if not (await statuses(client, 0.5))[200]] == []
    await valkey.start()
    await until(shares)


async def test_the_counts_expire_and_an_idle_process_reports_nothing(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> None:
    service, clients = await two_processes(start_service, launch, valkey)
    organization = f"{PREFIX}rate:o:{service.client.organization_id}"
    async with redis.asyncio.from_url(valkey.url, decode_responses=True) as client:
        await statuses(clients[0], 1)

        async def counted() -> bool:
            with suppress(IndexError):
                return (await counts_at(client))[0] == organization
            await clients[0].request("GET", PATH)
            return False

        await until(counted)
        assert 0 < await client.pttl(organization) <= 5000

        async def gone() -> bool:
            return not await counts_at(client)

        await until(gone)
        before = await reports(client)
        assert before
        await asyncio.sleep(1)
        assert await reports(client) == before


async def test_no_request_waits_for_a_frozen_broker(
    start_service: StartService, launch: Launch, valkey: EmbeddedValkey
) -> None:
    _, clients = await two_processes(start_service, launch, valkey)
    await asyncio.gather(*(statuses(client, 0.5) for client in clients))
    assert valkey.child is not None
    frozen = psutil.Process(valkey.child.pid)
    frozen.suspend()
    try:
        # If each of the 100 requests waited until a report to the broker times out, the test would
        # take 50 s.
        async with asyncio.timeout(20):
            seen = {(await clients[0].request("GET", PATH)).status for _ in range(100)}
    finally:
        frozen.resume()
    assert seen <= {200, 429}
