"""Fixtures that several unit tests use."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import pytest_asyncio

from tests.support import faults
from tests.support.decoders import children, find_decoders
from tests.support.sniffers import server_process
from worker.decoding import pool as pool_module
from worker.decoding.decoders import Decoders
from worker.decoding.inside.images import load_codecs
from worker.decoding.process import Decoder
from worker.sniffing.sniffer import Sniffers

STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system")
"""Names of the audit events that Python raises when code starts a process."""

_starts: list[str] = []


def _note_start(event: str, _arguments: object, names: tuple[str, ...] = STARTS) -> None:
    # Python still calls this hook while the interpreter ends. The module's variables are gone by
    # then, so the names are a default argument.
    if event in names:
        _starts.append(event)


sys.addaudithook(_note_start)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Clear the list of processes that earlier tests have started."""
    _starts.clear()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that starts a process without having the marker `slow` or `soak`.

    `make unit` excludes tests with these markers.
    """
    left_out = item.get_closest_marker("slow") or item.get_closest_marker("soak")
    if _starts and left_out is None:
        pytest.fail(f"this test needs the marker slow, since it starts a process: {_starts[0]}")


@pytest_asyncio.fixture
async def ended_decoders(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """End all decoders of a test, even if the test fails.

    Other tests count the child processes of this process, so no decoder may be left.
    """
    begun: list[Decoders] = []
    begin = Decoders.__init__

    def note(decoders: Decoders, *sizes: Any, **named: Any) -> None:
        begin(decoders, *sizes, **named)
        begun.append(decoders)

    monkeypatch.setattr(Decoders, "__init__", note)
    yield
    for decoders in begun:
        await decoders.close()  # a second `close` has no effect
    for child in find_decoders(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            child.kill()


@pytest_asyncio.fixture
async def sniffers() -> AsyncIterator[Sniffers]:
    """Start the server of sniffing processes, which has no child processes yet."""
    assert server_process() is None
    started = Sniffers(timeout_s=20)
    await started.warm_up()
    yield started
    await started.close()
    assert server_process() is None


@pytest_asyncio.fixture
async def decoder() -> AsyncIterator[Decoder]:
    """Start a decoder, and stop it after the test."""
    started = await Decoder.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[Decoders]:
    """Start a pool that runs one decoder at a time and keeps one spare decoder."""
    assert children() == []
    started = Decoders(1, timeout_s=20)
    await started.warm_up()
    yield started
    await started.close()
    assert children() == []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Record the ids of the organizations whose files each decoder receives.

    The dictionary maps a decoder's process id to these organization ids, in order.
    """
    seen: dict[int, list[int]] = {}
    organizations: dict[int, int] = {}
    decode_one, enter = Decoder.decode, pool_module.DecoderPool.decode

    async def noting_decode(decoder: Decoder, descriptor: int, **named: Any) -> Any:
        seen.setdefault(decoder.pid, []).append(organizations[descriptor])
        return await decode_one(decoder, descriptor, **named)

    async def noting_enter(pool: Any, organization: int, descriptor: int, **named: Any) -> Any:
        organizations[descriptor] = organization
        return await enter(pool, organization, descriptor, **named)

    monkeypatch.setattr(Decoder, "decode", noting_decode)
    monkeypatch.setattr(pool_module.DecoderPool, "decode", noting_enter)
    return seen


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove all settings of the service from the environment; a test can then set some."""
    for name in list(os.environ):
        if name.startswith("ATTACHMENTS_"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use an empty working directory, and remove the settings of the service and of AWS."""
    for name in os.environ:
        if name.startswith(("ATTACHMENTS_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no process listens."""
    return faults.closed_port()


@pytest.fixture
def more_formats() -> Iterator[None]:
    """Enable the decoders of all optional formats during one test."""
    load_codecs({"tiff", "avif", "heic", "jxl"})
    yield
    load_codecs()
