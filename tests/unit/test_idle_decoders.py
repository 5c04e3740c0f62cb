"""The worker replaces a decoder that writes, computes or exits while it has no job."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import structlog

from shared.errors import DecoderFault, Undecodable
from tests.data import images
from tests.support.decoders import counted_kill, find_decoders, has_begun, opened
from tests.support.forking import SMALL, decode_for, python_with_changed_zygote, running
from tests.support.service import until
from worker.decoding.process import Decoder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="decoders are forked on Linux only"),
    pytest.mark.usefixtures("ended_decoders"),
]
HOARDS = """
make, hoard = child.make_image, []
def make_image(file, job):
    hoard.append(b"x" * 200_000_000)
    return make(file, job)
child.make_image = make_image
"""


async def test_one_that_holds_much_memory_after_its_answer_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: dict[int, list[int]]
) -> None:
    monkeypatch.setattr(sys, "executable", str(python_with_changed_zygote(tmp_path, HOARDS)))
    async with running() as decoders:
        for _ in range(3):
            assert (await decode_for(decoders, 1)).facts.width == 40
            assert not any(has_begun(child) for child in find_decoders(os.getpid()))
    assert len(served) == 3


COMPUTES = """
def spin():
    for _ in iter(int, 1):
        pass
run = child.run_job
def run_job(*given):
    child.receive_job = lambda channel: spin()
    return run(*given)
child.run_job = run_job
"""
WRITES = """
send = child.send
def twice(channel, answer, body=b''):
    send(channel, answer, body)
    if 'width' in answer:
        send(channel, {'undecodable': 'encrypted'})
child.send = twice
"""


async def test_one_that_computes_without_a_job_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(python_with_changed_zygote(tmp_path, COMPUTES)))
    with structlog.testing.capture_logs() as logged, counted_kill("idle"):
        async with running() as decoders:
            await decode_for(decoders, 1)
            (child,) = (each for each in find_decoders(os.getpid()) if has_begun(each))
            await until(lambda: asyncio.sleep(0, not child.is_running()))
    (killed,) = (entry for entry in logged if entry["event"] == "idle decoder killed")
    assert (killed["pid"], killed["log_level"]) == (child.pid, "warning")
    assert killed["error"] == "the decoder computed without a job"


async def test_one_that_writes_without_a_job_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: dict[int, list[int]]
) -> None:
    monkeypatch.setattr(sys, "executable", str(python_with_changed_zygote(tmp_path, WRITES)))
    with structlog.testing.capture_logs() as logged:
        async with running() as decoders:
            for _ in range(3):
                assert (await decode_for(decoders, 1)).facts.width == 40
                (child,) = (each for each in find_decoders(os.getpid()) if has_begun(each))

                async def is_gone(child: psutil.Process = child) -> bool:
                    return not child.is_running()

                await until(is_gone)
    assert len(served) == 3
    faults = {entry["error"] for entry in logged if entry["event"] == "idle decoder killed"}
    assert faults == {"the decoder wrote without a job"}


async def test_output_without_a_job_is_never_the_next_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The decoder answers a job twice; the next job may be sent before the second answer comes."""
    monkeypatch.setattr(sys, "executable", str(python_with_changed_zygote(tmp_path, WRITES)))
    async with running() as decoders:
        for _ in range(20):
            with suppress(DecoderFault):
                assert (await decode_for(decoders, 1)).facts.width == 40


@pytest.mark.parametrize("answer", [b"x", b""], ids=["wrote", "gone"])
async def test_no_job_is_sent_to_one_that_did_something_without_one(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    class Idle:
        pid = os.getpid()
        doomed = False

        async def end(self) -> tuple[int, int]:
            return -signal.SIGKILL, 0

    decoder = Decoder(Idle(), ours)
    decoder._rested_s = decoder._cpu_s()
    if answer:
        theirs.sendall(answer)
    else:
        theirs.shutdown(socket.SHUT_WR)
    with opened(SMALL) as descriptor, pytest.raises(EOFError):
        await decoder.decode(descriptor, timeout_s=5)
    theirs.setblocking(False)
    with suppress(BlockingIOError):
        assert theirs.recv(1) == b""
        raise AssertionError("a job was sent")
    await decoder.stop()
    theirs.close()


def large_image(kind: str) -> bytes:
    """Make a noise image of 49 megapixels."""
    image = images.tiled_noise(7000, 7000)
    return images.encode(image, kind, **({"compress_level": 1} if kind == "PNG" else {}))


@contextmanager
def busy_machine() -> Iterator[None]:
    """Keep all processors busy: run two more computing processes than there are processors."""
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(2 + (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for each in spinning:
            each.kill()
            each.wait()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_an_honest_decoder_is_never_taken_for_one_that_computes(kind: str) -> None:
    """A decoder finishes all its work, such as freeing memory, before it answers.

    So it uses almost no CPU time while it has no job.
    """
    large = await asyncio.to_thread(large_image, kind)
    broken = large[: len(large) // 2]
    files = [large, SMALL, broken, SMALL, b"no image", *[SMALL] * 40]
    with structlog.testing.capture_logs() as logged:
        async with running(timeout_s=300) as decoders:
            with busy_machine():
                for content in files:
                    with suppress(Undecodable):
                        await decode_for(decoders, 1, content)
                    # In this pause, a decoder would do any work that is left.
                    await asyncio.sleep(0.005)
                    for pool in decoders._pools.values():
                        pool.tend()
    assert [entry for entry in logged if entry["log_level"] == "warning"] == []
