"""The format of the metrics: Prometheus's checker finds no fault in any process."""

import asyncio
import shutil

import pytest

from tests.support.faults import PHOTO
from tests.support.scraping import metrics_url
from tests.support.service import Service, scrape
from tests.support.starting import StartWorker

PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


async def lint(text: str) -> tuple[int, str]:
    """Run `promtool check metrics`; return its exit status and its output."""
    assert PROMTOOL is not None
    process = await asyncio.create_subprocess_exec(
        PROMTOOL,
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    sent, _ = await asyncio.wait_for(process.communicate(text.encode()), 30)
    assert process.returncode is not None
    return process.returncode, sent.decode()


async def test_promtool_finds_no_fault_in_the_metrics_of_api_and_worker(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    await service.client.settled(await service.client.upload(PHOTO, "img.jpg"))
    for url in (service.metrics_url, metrics_url(worker)):
        assert await lint(await scrape(url)) == (0, "")


async def test_promtool_would_find_a_name_against_the_conventions() -> None:
    status, sent = await lint("# HELP a_ms text\n# TYPE a_ms counter\na_ms 1\n")
    assert status != 0
    assert "a_ms" in sent
