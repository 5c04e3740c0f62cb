"""The backlog, which autoscaling uses: the number and the age of the waiting uploads."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from shared import backlog
from tests.support.commands import command
from tests.support.scraping import read
from tests.support.service import Service, scrape, until

ROW = """
    INSERT INTO attachments (
        organization_id, bucket, name, file_name, policy_expires_at, state, revision,
        claimed_revision, attempt, uploaded_at, processed_at, due_at, deleted_at
    ) VALUES (1, 'b', 'n', 'n', now(), $1, $2, $3, $4, now() - $5 * interval '1 second',
              now() - $6 * interval '1 second', now() - $7 * interval '1 second',
              CASE WHEN $8::boolean THEN now() END)
"""

CASES: dict[str, tuple[tuple[Any, ...], float | None]] = {
    # Each case has the values for ROW, and the number of seconds that the upload has waited. The
    # values for ROW are: the state, the revision, the claimed revision, the attempt, the seconds
    # since `uploaded_at`, `processed_at` and `due_at`, and whether the row is deleted.
    "uploaded, left to its wake-up": (("uploaded", 1, 0, 0, 40, None, -5, False), 40),
    "uploaded, left to the sweep": (("uploaded", 1, 0, 0, 40, None, 25, False), 40),
    "uploaded again": (("uploaded", 2, 1, 1, 40, 90, -5, False), 40),
    "retried by an operator": (("uploaded", 2, 1, 5, 9000, 8000, 30, False), 30),
    "failed, next attempt is due": (("uploaded", 1, 1, 2, 900, None, 10, False), 10),
    "failed, next attempt is later": (("uploaded", 1, 1, 2, 900, None, -10, False), None),
    "of a dead worker": (("processing", 1, 1, 1, 900, None, 20, False), 20),
    "of a worker that lives": (("processing", 1, 1, 1, 900, None, -20, False), None),
    "pending, to be checked": (("pending", 0, 0, 0, None, None, 50, False), None),
    "ready, to be checked": (("ready", 1, 1, 1, 900, 800, 50, False), None),
    "deleted": (("uploaded", 1, 0, 0, 40, None, 25, True), None),
}


@pytest.mark.parametrize("name", CASES)
async def test_an_upload_waits_from_when_a_worker_could_first_claim_it(
    service: Service, name: str
) -> None:
    values, waits_s = CASES[name]
    await service.execute(ROW, *values)
    async with service.database.acquire() as connection:
        found = await backlog.measure(connection)
    assert found.waiting == (waits_s is not None)
    # Time passes between the insert and the measurement, so the age may be a little greater.
    assert (waits_s or 0) <= found.oldest_seconds <= (waits_s or 0) + 20


async def test_command_page_and_metric_show_the_same(service: Service) -> None:
    assert (await command(service, "backlog")).out == "no upload waits\n"
    for uploaded_s in (3600, 7200, 60):
        await service.execute(ROW, "uploaded", 1, 0, 0, uploaded_s, None, 5, False)
    found = json.loads((await command(service, "backlog", "--json")).out)
    assert found["waiting"] == 3
    assert 7200 <= found["oldest_seconds"] < 7300
    sent = (await command(service, "backlog")).out
    assert sent.startswith("3 uploads wait, the oldest for 72")
    page = f"{service.metrics_url.removesuffix('/metrics')}/backlog"

    async def is_seen() -> bool:
        async with aiohttp.ClientSession() as session, session.get(page) as answer:
            shown = await answer.json()
            return answer.status == 200 and shown["waiting"] == 3

    await until(is_seen, within_s=30)
    metrics = read(await scrape(service.metrics_url))
    assert metrics.sum("attachments_backlog_uploads") == 3
    assert 7200 <= metrics.sum("attachments_backlog_oldest_seconds") < 7300
    assert metrics.sum("attachments_due_rows") == 3
    assert 5 <= metrics.sum("attachments_due_oldest_seconds") < 100


async def test_a_fresh_sample_is_shared_and_an_old_one_is_taken_once(service: Service) -> None:
    async def sample(max_age_s: float) -> Any:
        async with service.database.acquire() as connection:
            return await backlog.read_sample(connection, max_age_s=max_age_s)

    async def measured_at() -> Any:
        return await service.database.fetchval("SELECT measured_at FROM backlog_sample")

    await sample(0)
    first = await measured_at()
    await service.execute(ROW, "uploaded", 1, 0, 0, 40, None, 25, False)
    assert (await sample(3600)).waiting == 0
    assert await measured_at() == first
    # While another process measures the backlog, the old sample is shown without waiting.
    async with service.database.acquire() as other, other.transaction():
        await other.execute("SELECT FROM backlog_sample FOR UPDATE")
        async with asyncio.timeout(5):
            assert (await sample(0)).waiting == 0
    assert (await sample(0)).waiting == 1
    assert await measured_at() > first
