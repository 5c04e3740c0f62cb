"""A local stack and a browser that the tests of this folder share."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from tests.support.browser import open_browser, open_context
from tests.support.local import LocalStack, bare_environment

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a local stack that several test modules share, and stop it after the tests."""
    folder = tmp_path_factory.mktemp("stack")
    data_dir, ready_file, log = folder / "data", folder / "ready.json", folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deploy.cli",
                "up",
                "--data-dir",
                data_dir,
                "--port",
                "0",
                "--ready-file",
                ready_file,
                "--decoders",
                "1",
            ],
            env=bare_environment(),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready_file.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield LocalStack(data_dir=data_dir, ready=json.loads(ready_file.read_bytes()))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()


@pytest_asyncio.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser that test modules share."""
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """Open a context of the browser for a test module, with an empty profile."""
    async with open_context(chromium) as context:
        yield context
