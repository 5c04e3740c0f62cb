"""Fixtures of tests with a real clamd."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.clamd import ClamdProcess, running_clamd


@pytest_asyncio.fixture(scope="session")
async def clamd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClamdProcess]:
    """Start a clamd that tests share; no test may stop it."""
    async with running_clamd(tmp_path_factory.mktemp("clamd")) as running:
        yield running


@pytest_asyncio.fixture
async def own_clamd(tmp_path: Path) -> AsyncIterator[ClamdProcess]:
    """Start a clamd that only this test uses. The test may freeze and kill it."""
    async with running_clamd(tmp_path) as running:
        yield running
