"""Fixtures of unit tests."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio

from tests.support.decoders import find_decoders
from worker.decoding.decoders import Decoders

STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system")
"""Python's audit events of starting a process."""

_starts: list[str] = []


def _note_start(event: str, _arguments: object) -> None:
    if event in STARTS:
        _starts.append(event)


sys.addaudithook(_note_start)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget the processes that earlier tests have started."""
    _starts.clear()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that starts a process without the marker by which `make unit` leaves it out."""
    left_out = item.get_closest_marker("slow") or item.get_closest_marker("soak")
    if _starts and left_out is None:
        pytest.fail(f"this test needs the marker slow, since it starts a process: {_starts[0]}")


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
