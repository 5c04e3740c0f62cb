"""A scanner that is frozen or killed, or that loses its connections."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.clamd import ClamdProcess, need_clamd, running_clamd
from tests.support.faults import PHOTO, SOON, make_due, reaches
from tests.support.health import asked, becomes_ready, waits_for
from tests.support.proxy import running_proxy
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker

need_clamd()

pytestmark = pytest.mark.fault


@pytest_asyncio.fixture
async def clamd(tmp_path: Path) -> AsyncIterator[ClamdProcess]:
    """Start a clamd that only this test uses. The test may freeze and kill it."""
    async with running_clamd(tmp_path) as running:
        yield running


async def is_closed(service: Service, attachment_id: str) -> bool:
    """Return True if the API answers 404 to a request for an attachment's file."""
    resource = await service.client.show(attachment_id)
    url = resource["attributes"]["url"]
    async with service.client.session.get(url, allow_redirects=False) as answer:
        return answer.status == 404


@pytest.mark.parametrize("fault", ["frozen", "killed"])
async def test_f26_an_upload_waits_until_the_scanner_works_again(
    clamd: ClamdProcess, start_service: StartService, start_worker: StartWorker, fault: str
) -> None:
    service = await start_service(clamd_url=clamd.url)
    await start_worker(service, scan_timeout="0.5", **SOON)
    if fault == "frozen":
        clamd.freeze()
    else:
        await clamd.kill()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "scanner_unavailable"
    assert await is_closed(service, attachment_id)
    if fault == "frozen":
        clamd.thaw()
    else:
        await clamd.start()
    await make_due(service, attachment_id)
    row = await reaches(service, attachment_id, "ready", within_s=60)
    assert (row.scan_verdict, row.resized, row.reason) == ("clean", True, None)
    assert not await is_closed(service, attachment_id)


async def test_f26_a_connection_that_breaks_during_a_scan_releases_nothing(
    clamd: ClamdProcess, start_service: StartService, start_worker: StartWorker
) -> None:
    async with running_proxy(clamd.url) as proxy:
        service = await start_service(clamd_url=proxy.url)
        await start_worker(service, attempts="2", **SOON)
        # The proxy cuts clamd's answer off after `stream: OK`, so the answer has no end.
        proxy.truncate(10)
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, attachment_id, "uploaded", attempt=1)
        proxy.cut()
        await make_due(service, attachment_id)
        row = await reaches(service, attachment_id, "failed")
        assert (row.reason, row.scan_verdict) == ("scanner_unavailable", None)
        assert await is_closed(service, attachment_id)


@pytest.mark.parametrize("optional", ["false", "true"])
async def test_f26_a_worker_is_ready_only_with_its_scanner_unless_scanning_is_optional(
    clamd: ClamdProcess, start_service: StartService, start_worker: StartWorker, optional: str
) -> None:
    async with running_proxy(clamd.url) as proxy:
        proxy.cut()
        service = await start_service(clamd_url=proxy.url, scan_optional=optional)
        worker = await start_worker(service)
        if optional == "false":
            parts = await waits_for(worker, "worker", "scanner")
            assert parts["scanner"].startswith("clamd ")
            proxy.let_go()
        await becomes_ready(worker, "worker")
        _, document = await asked(worker)
        assert (document["parts"]["scanner"] == "ok") is (optional == "false")
