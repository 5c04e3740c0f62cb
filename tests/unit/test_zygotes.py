"""Zygotes fork sealed decoders. A zygote that ends is replaced, and its decoders end with it."""

import asyncio
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import structlog

from shared.errors import DecoderFault
from tests.data.seeds import seed
from tests.support.decoders import find_decoders, find_limit, find_zygotes, has_job
from tests.support.forking import decode_for, have_started, python_with_changed_zygote, running
from tests.support.service import until
from worker.decoding import forks as forks_module
from worker.decoding.children import spawn
from worker.decoding.formats import Box
from worker.decoding.pool import SPARES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="decoders are forked on Linux only"),
    pytest.mark.usefixtures("ended_decoders"),
]


async def test_a_forked_decoder_is_sealed_and_holds_nothing_but_its_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # With this change, decoders keep their privileges, so the test can inspect them without root.
    change = "from worker.sandbox import privileges\nprivileges.drop = lambda: None\n"
    monkeypatch.setattr(sys, "executable", str(python_with_changed_zygote(tmp_path, change)))
    async with running() as decoders:
        await decode_for(decoders, 1)
        (parent,) = find_zygotes(os.getpid())
        assert parent.environ() == {}
        assert parent.num_threads() == 1
        for child in find_decoders(os.getpid()):
            status = Path(f"/proc/{child.pid}/status")

            # A decoder seals itself after the fork.
            async def sealed(status: Path = status) -> bool:
                return "Seccomp:\t2\n" in await asyncio.to_thread(status.read_text)

            await until(sealed)
            assert child.environ() == {}
            assert find_limit(child, "Max processes") == "0"
            assert os.getsid(child.pid) == child.pid
            folder = f"/proc/{child.pid}/fd"
            targets = sorted(os.readlink(f"{folder}/{name}") for name in os.listdir(folder))
            assert targets[:3] == ["/dev/null"] * 3
            assert len(targets) == 4
            assert targets[3].startswith("socket:")


@pytest.mark.parametrize("name", ["avif", "tiff", "heic", "jxl"])
async def test_forked_decoders_read_further_formats(name: str) -> None:
    async with running(1, more=[name]) as decoders:
        assert len(find_zygotes(os.getpid())) == 1
        for organization in (1, 2, 1):
            made = await decode_for(decoders, organization, seed(name))
            # The thumbnail of a small lossless image (here the TIFF) is also lossless.
            assert made.extension == ("png" if name == "tiff" else "jpg")


async def test_a_zygote_with_threads_does_not_fork(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If a zygote has threads, the worker starts each decoder as a separate Python process."""
    started = "import threading, time\n"
    started += "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    program = python_with_changed_zygote(tmp_path, started)
    start = spawn

    async def spawn_changed(module: str, *given: Any) -> Any:
        with monkeypatch.context() as changed:
            if module == "worker.decoding.zygote":
                changed.setattr(sys, "executable", str(program))
            return await start(module, *given)

    monkeypatch.setattr(forks_module, "spawn", spawn_changed)
    with structlog.testing.capture_logs() as logged:
        async with running() as decoders:
            assert find_zygotes(os.getpid()) == []
            made = [await decode_for(decoders, organization) for organization in (1, 2)]
            assert [each.facts.width for each in made] == [40, 40]
            assert len(find_decoders(os.getpid())) >= 2
    events = [entry["event"] for entry in logged]
    assert events.count("codecs start threads, so decoders are not forked") == 1


async def test_the_service_goes_on_after_its_zygote_was_killed() -> None:
    async with running(2) as decoders:
        await decode_for(decoders, 1)
        (parent,) = find_zygotes(os.getpid())
        children = find_decoders(os.getpid())
        parent.kill()
        await until(lambda: asyncio.sleep(0, not any(child.is_running() for child in children)))
        made = await asyncio.gather(
            *(decode_for(decoders, organization) for organization in (1, 2, 3))
        )
        assert [each.facts.width for each in made] == [40, 40, 40]
        (other,) = find_zygotes(os.getpid())
        assert other.pid != parent.pid


async def test_decoders_die_with_their_zygote_also_as_another_user() -> None:
    """The kernel kills even suspended decoders.

    A suspended decoder cannot notice that its socket is closed, so it cannot end by itself.
    """
    async with running(2) as decoders:
        await decode_for(decoders, 1)
        # One decoder has had a job; the others are spare decoders.
        await until(lambda: asyncio.sleep(0, have_started(os.getpid(), 1 + SPARES)))
        children = find_decoders(os.getpid())
        for child in children:
            child.suspend()
        (parent,) = find_zygotes(os.getpid())
        parent.kill()
        await until(lambda: asyncio.sleep(0, not any(child.is_running() for child in children)))


async def test_a_zygote_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks_module, "ANSWER_TIMEOUT_S", 0.5)
    async with running() as decoders:
        (parent,) = find_zygotes(os.getpid())
        parent.suspend()
        made = await asyncio.gather(
            *(decode_for(decoders, organization) for organization in (1, 2, 3))
        )
        assert [each.facts.width for each in made] == [40, 40, 40]
        assert not parent.is_running()


async def test_a_job_is_lost_with_its_zygote_and_the_next_is_not() -> None:
    async with running() as decoders:
        (child,) = find_decoders(os.getpid())
        child.suspend()
        job = asyncio.create_task(decode_for(decoders, 1))
        await until(lambda: asyncio.sleep(0, has_job(os.getpid())))
        (parent,) = find_zygotes(os.getpid())
        parent.kill()
        with pytest.raises(DecoderFault, match="decoder_died"):
            await job
        assert (await decode_for(decoders, 1)).facts.width == 40


async def test_spares_that_die_are_replaced_without_any_upload() -> None:
    async with running(2):
        dead = find_decoders(os.getpid())
        assert len(dead) == SPARES
        for child in dead:
            child.kill()
        await until(lambda: asyncio.sleep(0, len(find_decoders(os.getpid())) == SPARES))
        assert not {child.pid for child in dead} & {
            child.pid for child in find_decoders(os.getpid())
        }


@pytest.mark.parametrize("after_s", [0, 0.001, 0.005, 0.02])
async def test_a_fork_that_is_not_wanted_any_more_leaves_nothing(after_s: float) -> None:
    source = forks_module.Source(Box.IMAGES, ())
    await (await source.start()).stop()
    before = psutil.Process().num_fds()
    starting = asyncio.create_task(source.start())
    await asyncio.sleep(after_s)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await (await starting).stop()
    await until(lambda: asyncio.sleep(0, not find_decoders(os.getpid())))
    await until(lambda: asyncio.sleep(0, psutil.Process().num_fds() <= before))
    await (await source.start()).stop()  # this request must get its own answer
    await source.close()
    assert not find_decoders(os.getpid()) + find_zygotes(os.getpid())


OWNER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from tests.support.decoders import find_decoders
from tests.support.forking import decode_for, have_started
from worker.decoding.decoders import Decoders
async def main():
    decoders = Decoders(1, timeout_s=60)
    await decoders.warm_up()
    await decode_for(decoders, 1)
    while not have_started(os.getpid(), 2):  # one that is suspended earlier never will have
        await asyncio.sleep(0.05)
    for child in find_decoders(os.getpid()):
        child.suspend()
    asyncio.create_task(decode_for(decoders, 1))
    await asyncio.sleep(0.2)
    print("busy", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_killed_worker_leaves_neither_zygote_nor_busy_decoder() -> None:
    code = OWNER.format(root=str(Path(__file__).parents[2]))
    with subprocess.Popen(  # noqa: ASYNC220 - the call does not wait for the process
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == "busy\n"
        family = psutil.Process(owner.pid).children(recursive=True)
        # The three processes are a zygote, a busy decoder and a spare decoder.
        assert len(family) >= 3
        assert have_started(owner.pid, 2)
        owner.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
    assert alive == []


async def test_a_request_out_of_place_ends_no_other_process() -> None:
    """A zygote ends only processes that it has forked."""
    source = forks_module.Source(Box.IMAGES, ())
    decoder = await source.start()
    running_zygote = source._zygote
    assert running_zygote is not None
    assert await running_zygote.end(os.getpid()) == (0, 0)
    await decoder.stop()
    assert await running_zygote.end(decoder.pid) == (0, 0)
    await source.close()
