"""Fixtures of unit tests."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio

from tests.support.decoders import find_decoders
from worker.decoding.decoders import Decoders


@pytest_asyncio.fixture
async def ended_decoders(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """End all decoders of a test, also of one that fails: others count this process's children."""
    begun: list[Decoders] = []
    begin = Decoders.__init__

    def note(decoders: Decoders, *sizes: Any, **named: Any) -> None:
        begin(decoders, *sizes, **named)
        begun.append(decoders)

    monkeypatch.setattr(Decoders, "__init__", note)
    yield
    for decoders in begun:
        await decoders.close()  # nothing happens if it was closed before
    for child in find_decoders(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            child.kill()
