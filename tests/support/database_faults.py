"""Event requests that tests send while the database is unavailable, and checks of the answers."""

import asyncio
import time

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from deploy.embedded.postgres import EmbeddedPostgres
from tests.support.service import Service, scrape
from tests.support.stack import EVENTS_TOKEN

ANSWER_S = 3.0
"""The seconds within which a source of events expects an answer (events.md, rule 2)."""

BUSY_S = 10.0
"""The longest time for one answer, in seconds.

A busy test machine may delay one answer by this time, but not every answer.
"""

DELIVERIES = 3


async def deliver(service: Service, event: bytes) -> tuple[int, str | None]:
    """Post an event as a source does, and return the status and the Retry-After header of the
    answer.
    """
    headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    async with (
        asyncio.timeout(BUSY_S),
        service.client.session.post(
            f"{service.client.base_url}/events/s3", data=event, headers=headers
        ) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After")


async def is_unavailable(service: Service, event: bytes) -> None:
    """Assert that events are answered with 503 in time, and that `/health/live` still works."""
    durations_s = []
    for _ in range(DELIVERIES):
        began = time.monotonic()
        status, retry_after = await deliver(service, event)
        durations_s.append(time.monotonic() - began)
        assert status == 503
        assert retry_after is not None
        assert int(retry_after) > 0
        async with asyncio.timeout(BUSY_S):
            assert (await service.client.request("GET", "/health/live")).status == 200
            assert "attachments_events_total" in await scrape(service.metrics_url)
        if durations_s[-1] < ANSWER_S:
            break
    assert min(durations_s) < ANSWER_S


async def is_taken(service: Service, event: bytes) -> bool:
    """Post the event again as its source would, and return True if the answer is 200."""
    try:
        return (await deliver(service, event))[0] == 200
    except TimeoutError:
        return False


async def crash(postgres: EmbeddedPostgres) -> None:
    """Kill the PostgreSQL server, and wait until its backends have ended too.

    The backends are in other process groups, so they notice the crash a little later.
    """
    assert postgres.child is not None
    backends = psutil.Process(postgres.child.pid).children(recursive=True)
    postgres.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, backends, 10)
    assert alive == []
