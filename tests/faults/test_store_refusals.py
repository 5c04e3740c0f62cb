"""A store that refuses requests: the service makes few calls, logs few lines, and loses nothing.

The store refuses either forever or for a limited time.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.keys import original_key
from shared.reasons import ReasonCode
from shared.storage import Storage
from tests.support.faults import PHOTO, SOON, make_due, reaches
from tests.support.log_lines import named
from tests.support.objects import exists
from tests.support.refusing import Refusing
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.stack import Stack
from tests.support.starting import StartWorker

pytestmark = pytest.mark.fault

MANY = 300
FEW = 60
"""The maximum number of calls in the tests.

A worker may make a call for each row that it processes at one time (ATTACHMENTS_CONCURRENCY), but
not for each of the MANY rows.
"""

A_FEW_LINES = 6
"""The maximum number of log lines in the tests.

One line a minute is expected, but the machine may be slow.
"""


@pytest_asyncio.fixture
async def refusing(stack: Stack) -> AsyncIterator[Refusing]:
    """Start a proxy in front of the store that can refuse requests."""
    proxy = Refusing(stack.seaweedfs.url)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def make_rows(service: Service, count: int, *, deleted: bool) -> list[int]:
    """Insert due rows without objects. The rows are deleted if `deleted` is true, else pending."""
    rows = await service.database.fetch(
        "INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at,"
        " due_at, deleted_at) SELECT $1, $2, 'a.txt', 'a.txt', now() + interval '1 hour', now(),"
        " CASE WHEN $4 THEN now() END FROM generate_series(1, $3) RETURNING id",
        service.client.organization_id,
        service.settings.s3_bucket,
        count,
        deleted,
    )
    return [row[0] for row in rows]


async def make_deleted(service: Service, storage: Storage, count: int) -> list[int]:
    """Insert deleted rows with objects. Their purge is not due yet."""
    ids = await make_rows(service, count, deleted=True)
    await service.execute("UPDATE attachments SET due_at = now() + interval '1 hour'")
    for start in range(0, count, 20):
        await asyncio.gather(
            *(
                storage.write(original_key(each, "a.txt"), b"text", content_type="text/plain")
                for each in ids[start : start + 20]
            )
        )
    return ids


async def all_due(service: Service) -> None:
    """Make all rows that have a due time due now."""
    await service.execute("UPDATE attachments SET due_at = now() WHERE due_at IS NOT NULL")


async def wait_until_postponed(service: Service, ids: list[int], *, attempt: int = 1) -> None:
    """Wait until each row has been postponed `attempt` times."""

    async def all_were() -> bool:
        least = await service.database.fetchval(
            "SELECT min(attempt) FROM attachments WHERE id = ANY($1::bigint[])", ids
        )
        return bool(least >= attempt)

    await until(all_were, within_s=60)


def refusals(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    """Return a worker's log lines with this `event` whose cause is a refusal of the store."""
    sent = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    return [
        line
        for line in sent
        if line["event"] == event and line["cause"].startswith("StoreRefused: ")
    ]


def asked(proxy: Refusing, method: str) -> int:
    """Count the requests with this HTTP method that the proxy has received."""
    return Counter(line.split()[0] for line in proxy.asked)[method.encode()]


async def test_purges_that_are_refused_cost_few_calls_and_one_line_and_are_made_good(
    service: Service, start_worker: StartWorker, storage: Storage, refusing: Refusing
) -> None:
    ids = await make_deleted(service, storage, MANY)
    refusing.forbidden = (b"DELETE ",)
    worker = await start_worker(service, s3_endpoint_url=refusing.url, lease="1", **SOON)
    await all_due(service)
    await wait_until_postponed(service, ids, attempt=2)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    assert asked(refusing, "DELETE") <= FEW
    assert asked(refusing, "HEAD") <= FEW
    first, *others = refusals(worker, "purge postponed")
    assert first["cause"] == "StoreRefused: AccessDenied: s3:DeleteObject is needed"
    assert len(others) <= A_FEW_LINES
    await worker.stop()
    # At its end, a worker logs all counts that it has not logged yet.
    counted = refusals(worker, "purge postponed")[1:]
    assert sum(line["count"] for line in counted) >= 2 * MANY - 1
    assert len(counted) <= A_FEW_LINES
    refusing.forbidden = ()
    await start_worker(service, s3_endpoint_url=refusing.url, **SOON)
    await all_due(service)
    await until(lambda: none_due(service, ids), within_s=60)
    assert not any([await exists(storage, original_key(each, "a.txt")) for each in ids[::20]])


async def none_due(service: Service, ids: list[int]) -> bool:
    """Return True if none of the rows has a due time."""
    left = await service.database.fetchval(
        "SELECT count(*) FROM attachments WHERE id = ANY($1::bigint[]) AND due_at IS NOT NULL", ids
    )
    return bool(left == 0)


async def test_one_purge_that_is_refused_holds_up_no_other(
    service: Service, start_worker: StartWorker, storage: Storage, refusing: Refusing
) -> None:
    locked, *ids = await make_deleted(service, storage, 40)
    refusing.forbidden = (b"DELETE /" + f"attachments-test/{original_key(locked, 'a')}".encode(),)
    await start_worker(service, s3_endpoint_url=refusing.url, lease="1", **SOON)
    await all_due(service)
    await until(lambda: none_due(service, ids), within_s=60)
    await wait_until_postponed(service, [locked], attempt=3)
    row = await service.row(locked)
    assert row.due_at is not None
    assert await exists(storage, row.key)
    refusing.forbidden = ()
    await make_due(service, str(locked))
    await until(lambda: none_due(service, [locked]), within_s=60)
    assert not await exists(storage, row.key)


async def test_probes_that_are_refused_cost_few_calls_and_one_line_and_are_made_good(
    service: Service, start_worker: StartWorker, storage: Storage, refusing: Refusing
) -> None:
    refusing.forbidden = (b"HEAD ",)
    refusing.refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    ids = await make_rows(service, MANY, deleted=False)
    await storage.write(original_key(ids[-1], "a.txt"), b"text", content_type="text/plain")
    worker = await start_worker(service, s3_endpoint_url=refusing.url, lease="1", **SOON)
    await wait_until_postponed(service, ids)
    assert asked(refusing, "HEAD") <= FEW
    first, *others = refusals(worker, "check postponed")
    assert first["cause"] == "StoreRefused: 403"
    assert len(others) <= A_FEW_LINES
    await worker.stop()
    refusing.forbidden = ()
    await start_worker(service, **SOON)
    await all_due(service)
    row = await reaches(service, ids[-1], "ready")
    assert row.size == 4


def check_ends(service: Service, worker: WorkerProcess, ids: list[str], reason: ReasonCode) -> None:
    """Assert that a worker has logged the end of each upload once, with all fields."""
    ends = named(worker.log(), "processed")
    assert sorted(line["attachment"] for line in ends) == sorted(map(int, ids))
    for line in ends:
        assert (line["state"], line["reason"], line["attempt"]) == ("failed", reason, 1)
        assert line["organization"] == service.client.organization_id
        assert line["size"] == len(PHOTO)
        assert line["seconds"]["queued"] >= 0
        assert line["seconds"]["read"] > 0


async def test_uploads_that_are_refused_write_one_warning_and_each_its_end(
    service: Service, start_worker: StartWorker, refusing: Refusing
) -> None:
    refusing.forbidden = (b"GET ",)
    worker = await start_worker(service, s3_endpoint_url=refusing.url, attempts="1", **SOON)
    # The worker cannot read the objects, so it knows their size only from the attribute `size`.
    ids = [await service.client.upload(PHOTO, "a.jpg", size=len(PHOTO)) for _ in range(20)]
    for each in ids:
        row = await reaches(service, each, "failed", attempt=1)
        assert row.reason == "store_refused"
    await worker.stop()
    check_ends(service, worker, ids, "store_refused")
    found = refusals(worker, "attempt failed")
    assert len(found) <= A_FEW_LINES
    assert sum(line.get("count", 1) for line in found) >= len(ids)
    assert "count" in found[-1]
    for line in found:
        assert line["organization"] == service.client.organization_id
        assert (line["revision"], line["attempt"]) == (1, 1)


@pytest.mark.parametrize(
    ("status", "reason"), [(b"403 Forbidden", "store_refused"), (b"500 Fault", "store_unavailable")]
)
async def test_an_upload_whose_thumbnail_is_refused_has_the_size_of_its_object_in_the_log(
    service: Service,
    start_worker: StartWorker,
    refusing: Refusing,
    status: bytes,
    reason: ReasonCode,
) -> None:
    refusing.forbidden = (b"PUT ",)
    refusing.refusal = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    worker = await start_worker(service, s3_endpoint_url=refusing.url, attempts="1", **SOON)
    attachment_id = await service.client.upload(PHOTO, "a.jpg")
    row = await reaches(service, attachment_id, "failed", attempt=1)
    assert (row.reason, row.size) == (reason, None)
    await worker.stop()
    check_ends(service, worker, [attachment_id], reason)
