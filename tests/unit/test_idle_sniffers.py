"""The worker replaces a sniffing process that writes, computes or exits while it has no request."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from shared.errors import DecoderFault
from tests.data.documents import DOCUMENTS
from tests.support.service import until
from tests.support.sniffers import identify, sniffing_children, wait_for_end
from worker.sniffing.process import Child
from worker.sniffing.sniffer import Sniffers

pytestmark = pytest.mark.slow
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
TEXT = b"plain words\n"


MISBEHAVES = """
import sys
from worker.sniffing import child
send = child._send
def misbehave(channel, words):
    send(channel, words)
    if "name" in words:
        {what}
child._send = misbehave
child.main(int(sys.argv[-1]))
"""
COMPUTES = "for _ in iter(int, 1): pass"
WRITES = "send(channel, {'name': 'image/png'})"
DIES = "child.os._exit(3)"
FAULTS = {
    COMPUTES: "the sniffer computed without a question",
    WRITES: "the sniffer wrote without a question",
    DIES: "the sniffer has ended",
}


def changed_child(folder: Path, what: str) -> str:
    """Write a program for the service to start instead of Python: a changed fork server.

    `what` is code that each child of the fork server runs after each answer.
    """
    code, python = folder / "child.py", folder / "python"
    code.write_text(MISBEHAVES.format(what=what))
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I {code} "$@"\n')
    python.chmod(0o755)
    return str(python)


@LINUX
@pytest.mark.parametrize("what", FAULTS)
async def test_one_that_does_something_without_a_question_is_ended(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", changed_child(tmp_path, what))
    started = Sniffers(timeout_s=20)
    await started.warm_up()
    with structlog.testing.capture_logs() as logged:
        assert (await identify(started, TEXT)).startswith("text/plain")
        (child,) = started._idle.values()
        await until(lambda: asyncio.sleep(0, not started._idle))
        await wait_for_end(child.pid)
        await until(lambda: asyncio.sleep(0, bool(logged)))
    (killed,) = logged
    assert (killed["event"], killed["pid"]) == ("idle sniffer killed", child.pid)
    assert killed["error"] == FAULTS[what]
    assert started._children == 0
    await started.close()


@LINUX
@pytest.mark.parametrize("what", FAULTS)
async def test_the_next_file_has_a_fresh_one_and_its_own_answer(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was active without a request is replaced before the next file.

    It is replaced even if no check of idle processes ran between the two files.
    """
    monkeypatch.setattr(sys, "executable", changed_child(tmp_path, what))
    started, pids = Sniffers(timeout_s=20), set()
    for _ in range(3):
        assert (await identify(started, TEXT)).startswith("text/plain")
        (child,) = started._idle.values()
        pids.add(child.pid)

        async def is_unfit(child: Child = child) -> bool:
            return child.idle_fault() is not None

        await until(is_unfit)
    assert len(pids) == 3
    await started.close()


async def test_output_without_a_question_is_never_the_next_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process answers a request twice. The next request may come before the second answer."""
    monkeypatch.setattr(sys, "executable", changed_child(tmp_path, WRITES))
    started = Sniffers(timeout_s=20)
    for _ in range(20):
        with suppress(DecoderFault):
            assert (await identify(started, TEXT)).startswith("text/plain")
    await started.close()


@LINUX
async def test_one_that_dies_while_idle_costs_no_attempt(sniffers: Sniffers) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        await identify(sniffers, TEXT)
        (pid,) = sniffing_children()
        os.kill(pid, number)
        await wait_for_end(pid)
        assert (await identify(sniffers, TEXT)).startswith("text/plain")


@LINUX
async def test_one_that_computes_too_long_for_its_question_is_ended_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = (
        "child.identify.identify_document = lambda *_: iter(lambda: [0 for _ in iter(int, 1)], 0)"
    )
    monkeypatch.setattr(sys, "executable", changed_child(tmp_path, what))
    monkeypatch.setattr("worker.sniffing.process.CPU_SHARE", 0.01)
    started = Sniffers(timeout_s=60)
    with structlog.testing.capture_logs() as logged:
        assert (await identify(started, TEXT)).startswith("text/plain")
        with pytest.raises(DecoderFault, match="decoder_died"):
            await identify(started, TEXT)
    assert [entry["status"] for entry in logged] == [-signal.SIGXCPU]
    await started.close()


async def test_an_honest_one_is_kept(sniffers: Sniffers) -> None:
    contents = [make() for make, _, _ in DOCUMENTS.values()]
    with structlog.testing.capture_logs() as logged:
        for content in contents * 3:
            await identify(sniffers, content)
            # In this pause, the process would do any work that is left.
            await asyncio.sleep(0.002)
    assert logged == []
    assert len(sniffing_children()) == 1
