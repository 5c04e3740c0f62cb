"""A decoder that uses too much memory or time, and the reason code that its file gets."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest

from shared.errors import DecoderFault, Undecodable
from tests.data import images, odd_images
from tests.support.decoders import (
    children,
    counted_kill,
    decode,
    limits_of,
    opened,
    python_with_changed_child,
)
from worker.decoding import process as decoder_module
from worker.decoding.decoders import Decoders
from worker.decoding.process import Decoder
from worker.decoding.protocol import MAX_MEMORY_BYTES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@LINUX
@pytest.mark.parametrize(
    "change",
    ["pass", "child.BUDGET = child.Cost(memory_bytes=10**12, cpu_s=0)"],
    ids=["its budget", "its address space"],
)
async def test_row75_an_image_over_the_memory_limit_is_too_expensive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, change))
    pool = Decoders(1, timeout_s=100)
    await pool.warm_up()
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        await decode(pool, odd_images.png_of_size(40_000, 40_000))
    assert (caught.value.facts.width, caught.value.facts.height) == (40_000, 40_000)
    await pool.close()


@LINUX
async def test_the_size_of_a_file_whose_decoder_was_killed_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spin = (
        "real = child.make_image; child.make_image = lambda file, job:"
        " sum(0 for _ in iter(int, 1)) if not job['header_only'] else real(file, job)"
    )
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, spin))
    pool = Decoders(1, timeout_s=2)
    await pool.warm_up()
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        await decode(pool, images.photo(300, 200))
    assert (caught.value.facts.width, caught.value.facts.height) == (300, 200)
    await pool.close()


@LINUX
async def test_row74_one_that_computes_for_too_long_is_ended_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spin = "child.make_image = lambda file, job: sum(0 for _ in iter(int, 1))"
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, spin))
    monkeypatch.setattr(decoder_module, "CPU_SHARE", 0.001)
    pool = Decoders(1, timeout_s=100)
    await pool.warm_up()
    (child,) = children()
    # After the kill, the worker lets a second decoder read only the file's header. The second
    # decoder is killed too, so two kills are counted.
    with counted_kill("cpu_time", times=2), pytest.raises(Undecodable, match="too_expensive"):
        await decode(pool, images.photo())
    assert not child.is_running()
    await pool.close()


@LINUX
async def test_one_that_its_own_clock_on_the_wall_ends_was_not_the_files_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = (
        "import signal; child.make_image = lambda file, job:"
        " signal.setitimer(signal.ITIMER_REAL, 0.05) and sum(0 for _ in iter(int, 1))"
    )
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, ends))
    pool = Decoders(1, timeout_s=20)
    with counted_kill("wall_clock"), pytest.raises(DecoderFault, match="decoder_stalled"):
        await decode(pool, images.photo())
    await pool.close()


@LINUX
async def test_row76_a_decoder_that_ends_for_want_of_memory_reports_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    greedy = "import os; child.make_image = lambda file, job: (b'x' * 800_000_000, os.abort())"
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, greedy))
    pool = Decoders(1, timeout_s=20)
    # After the kill, the worker lets a second decoder read only the file's header. The second
    # decoder is killed too, so two kills are counted.
    with counted_kill("memory", times=2), pytest.raises(Undecodable, match="too_expensive"):
        await decode(pool, images.photo())
    await pool.close()
    # The lack of memory is detected even if the decoder has ended before `stop` is called.
    started = await Decoder.start()
    with opened(images.photo()) as descriptor, pytest.raises(EOFError):
        await started.decode(descriptor, timeout_s=20)
    await asyncio.to_thread(os.waitid, os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    await started.stop()
    assert started.ran_out_of_memory()


@LINUX
async def test_one_that_dies_of_something_else_did_not_run_out_of_memory() -> None:
    # The kernel's peak memory of a child process includes the memory of the process that forked it.
    # So the test allocates more than the limit before the fork. This memory must not count for the
    # decoder.
    ballast = b"x" * MAX_MEMORY_BYTES
    decoder = await Decoder.start()
    del ballast
    os.kill(decoder.pid, signal.SIGSEGV)
    await asyncio.to_thread(os.waitid, os.P_PID, decoder.pid, os.WEXITED | os.WNOWAIT)
    assert await decoder.stop() == -signal.SIGSEGV
    assert not decoder.ran_out_of_memory()


@LINUX
async def test_every_job_gets_its_own_cpu_time(decoder: Decoder) -> None:
    process = psutil.Process(decoder.pid)
    large = images.encode(images.noise(2000, 2000), "PNG", compress_level=1)
    seen: set[str] = set()
    for _ in range(2):
        with opened(large) as descriptor:
            # Limits are whole seconds, so the jobs must use more than 1 s to change the limit.
            enough = process.cpu_times().user + 1.25
            while process.cpu_times().user < enough:
                await decoder.decode(descriptor, timeout_s=20)
        soft, hard = (await asyncio.to_thread(limits_of, decoder.pid))["Max cpu time"]
        assert hard == "unlimited"
        seen.add(soft)
    assert len(seen) == 2
