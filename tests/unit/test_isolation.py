"""Decoders belong to one organization, and may do nothing while they have no job."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import structlog
from PIL import Image

from shared.errors import DecoderFault, Undecodable
from tests.data import images, pdfs
from tests.data.seeds import seed
from tests.support.decoders import find_decoders, find_limit, find_zygotes, has_begun, has_job
from tests.support.service import until
from worker.decoding import forks as forks_module
from worker.decoding import pool as pool_module
from worker.decoding.children import spawn
from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.decoding.pool import SPARES
from worker.decoding.process import Decoder
from worker.sandbox.privileges import BOX_USER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="decoders are forked on Linux only"),
    pytest.mark.usefixtures("ended_decoders"),
]

SMALL = images.photo(40, 30)


@contextmanager
def opened(content: bytes) -> Iterator[int]:
    """Give a descriptor of a file with this content."""
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


async def decode(
    of: Decoders, organization: int, content: bytes = SMALL, kind: Box = Box.IMAGES
) -> Any:
    """Have content of an organization decoded."""
    with opened(content) as descriptor:
        return await of.decode(kind, organization, descriptor)


@asynccontextmanager
async def running(size: int = 1, **given: Any) -> AsyncIterator[Decoders]:
    """Run decoders, and see to it that nothing of them is left."""
    decoders = Decoders(size, **{"timeout_s": 20, **given})
    await decoders.warm_up()
    try:
        yield decoders
    finally:
        await decoders.close()
        assert not find_decoders(os.getpid()) + find_zygotes(os.getpid())


def have_started(pid: int, count: int) -> bool:
    """Whether a worker has that many decoders and all of them have given root up."""
    user = BOX_USER if os.geteuid() == 0 else os.geteuid()
    found = find_decoders(pid)
    return len(found) == count and all(child.uids().real == user for child in found)


def changed_zygote(folder: Path, change: str) -> Path:
    """Write a program to run in place of Python, whose zygote runs some code first."""
    script, program = folder / "changed.py", folder / "python"
    script.write_text(
        "import sys\nfrom worker.decoding import child as box, zygote\n"
        "from worker.decoding.formats import Box\n"
        + change
        + "\nzygote.main(int(sys.argv[3]), Box(sys.argv[1]), ())\n"
    )
    # called as: python -I -m worker.decoding.zygote KIND MORE FD
    line = f'exec {sys.executable} -I {script} "$4" "$5" "$6" worker.decoding.zygote'
    program.write_text(f"#!/bin/sh\nunset PWD\n{line}\n")  # the shell itself sets PWD
    program.chmod(0o755)
    return program


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Note whose files every decoder was given, by its process id, in their order."""
    seen: dict[int, list[int]] = {}
    organizations: dict[int, int] = {}
    decode, enter = Decoder.decode, pool_module.DecoderPool.decode

    async def noting_decode(decoder: Decoder, descriptor: int, **named: Any) -> Any:
        seen.setdefault(decoder.pid, []).append(organizations[descriptor])
        return await decode(decoder, descriptor, **named)

    async def noting_enter(pool: Any, organization: int, descriptor: int) -> Any:
        organizations[descriptor] = organization
        return await enter(pool, organization, descriptor)

    monkeypatch.setattr(Decoder, "decode", noting_decode)
    monkeypatch.setattr(pool_module.DecoderPool, "decode", noting_enter)
    return seen


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("organizations", [2, 5])
async def test_no_decoder_is_given_files_of_two_organizations(
    served: dict[int, list[int]], size: int, organizations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 1)
    async with running(size) as decoders:
        work = [decode(decoders, 1 + number % organizations) for number in range(60)]
        work += [decode(decoders, 1, b"no image") for _ in range(5)]
        work += [decode(decoders, number, pdfs.plain(), Box.DOCUMENTS) for number in (1, 2, 2, 1)]
        done = await asyncio.gather(*work, return_exceptions=True)
        assert {type(each) for each in done if isinstance(each, BaseException)} == {Undecodable}
        assert len(find_decoders(os.getpid())) <= 2 * (size + 1 + SPARES)
    assert sum(map(len, served.values())) == len(work)
    assert all(len(set(whose)) == 1 for whose in served.values())


async def test_organizations_that_wait_share_a_place_in_slices(
    served: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 0)
    async with running() as decoders:
        await asyncio.gather(*(decode(decoders, 1 + number // 16) for number in range(32)))
    assert len(served) >= 4  # two slices each
    assert all(len(whose) <= 8 for whose in served.values())


async def test_one_organization_alone_keeps_its_decoders(served: dict[int, list[int]]) -> None:
    async with running(2) as decoders:
        for _ in range(3):
            await asyncio.gather(*(decode(decoders, 7) for _ in range(20)))
    assert len(served) == 2


async def test_without_isolation_all_share_the_same_decoders(
    served: dict[int, list[int]],
) -> None:
    async with running(1, isolated=False) as decoders:
        await asyncio.gather(*(decode(decoders, 1 + number % 3) for number in range(30)))
    assert len(served) == 1


async def test_an_idle_decoder_is_ended_when_another_organization_needs_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 0)
    async with running() as decoders:
        await decode(decoders, 1)
        (first,) = (child for child in find_decoders(os.getpid()) if has_begun(child))
        await decode(decoders, 2)
        await until(lambda: asyncio.sleep(0, not first.is_running()))
        await until(lambda: asyncio.sleep(0, len(find_decoders(os.getpid())) == 2))


async def test_idle_decoders_of_some_organizations_are_kept_for_their_next_files(
    served: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was idle for longest makes room for another; in the end all but one go."""
    monkeypatch.setattr(pool_module, "KEPT", 2)
    async with running() as decoders:
        for organization in (1, 2, 3, 1, 2, 3, 4, 2, 3, 4):
            await decode(decoders, organization)
        assert sorted(served.values()) == [[1, 1], [2, 2, 2], [3, 3, 3], [4, 4]]
        assert len(find_decoders(os.getpid())) <= 1 + 2 + SPARES
        monkeypatch.setattr(pool_module, "KEPT_S", 0.0)
        await until(lambda: asyncio.sleep(0, len(find_decoders(os.getpid())) == 1 + 1))
        await decode(decoders, 4)
    assert len(served) == 4


# --- the zygote ----------------------------------------------------------------------------------


async def test_a_forked_decoder_is_sealed_and_holds_nothing_but_its_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As the user of the tests and dumpable: others than root can look into it.
    change = "from worker.sandbox import privileges\nprivileges.drop = lambda: None\n"
    monkeypatch.setattr(sys, "executable", str(changed_zygote(tmp_path, change)))
    async with running() as decoders:
        await decode(decoders, 1)
        (parent,) = find_zygotes(os.getpid())
        assert parent.environ() == {}
        assert parent.num_threads() == 1
        for child in find_decoders(os.getpid()):
            status = await asyncio.to_thread(Path(f"/proc/{child.pid}/status").read_text)
            assert "Seccomp:\t2\n" in status
            assert child.environ() == {}
            assert find_limit(child, "Max processes") == "0"
            assert os.getsid(child.pid) == child.pid
            folder = f"/proc/{child.pid}/fd"
            targets = sorted(os.readlink(f"{folder}/{name}") for name in os.listdir(folder))
            assert targets[:3] == ["/dev/null"] * 3
            assert len(targets) == 4
            assert targets[3].startswith("socket:")


@pytest.mark.parametrize("name", ["avif", "tiff", "heic"])
async def test_forked_decoders_read_further_formats(name: str) -> None:
    async with running(1, more=[name]) as decoders:
        assert len(find_zygotes(os.getpid())) == 1
        for organization in (1, 2, 1):
            made = await decode(decoders, organization, seed(name))
            assert made.extension == "jpg"


async def test_a_zygote_with_threads_does_not_fork(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its decoders are then started in a Python of their own each."""
    started = "import threading, time\n"
    started += "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    program = changed_zygote(tmp_path, started)
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
            made = [await decode(decoders, organization) for organization in (1, 2)]
            assert [each.facts.width for each in made] == [40, 40]
            assert len(find_decoders(os.getpid())) >= 2
    events = [entry["event"] for entry in logged]
    assert events.count("codecs start threads, so decoders are not forked") == 1


async def test_the_service_goes_on_after_its_zygote_was_killed() -> None:
    async with running(2) as decoders:
        await decode(decoders, 1)
        (parent,) = find_zygotes(os.getpid())
        children = find_decoders(os.getpid())
        parent.kill()
        await until(lambda: asyncio.sleep(0, not any(child.is_running() for child in children)))
        made = await asyncio.gather(*(decode(decoders, organization) for organization in (1, 2, 3)))
        assert [each.facts.width for each in made] == [40, 40, 40]
        (other,) = find_zygotes(os.getpid())
        assert other.pid != parent.pid


async def test_decoders_die_with_their_zygote_also_as_another_user() -> None:
    """The kernel kills them: frozen ones neither see that a socket is closed nor end themselves."""
    async with running(2) as decoders:
        await decode(decoders, 1)
        # one that has had a job, and spares
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
        made = await asyncio.gather(*(decode(decoders, organization) for organization in (1, 2, 3)))
        assert [each.facts.width for each in made] == [40, 40, 40]
        assert not parent.is_running()


async def test_a_job_is_lost_with_its_zygote_and_the_next_is_not() -> None:
    async with running() as decoders:
        (child,) = find_decoders(os.getpid())
        child.suspend()
        job = asyncio.create_task(decode(decoders, 1))
        await until(lambda: asyncio.sleep(0, has_job(os.getpid())))
        (parent,) = find_zygotes(os.getpid())
        parent.kill()
        with pytest.raises(DecoderFault, match="decoder_died"):
            await job
        assert (await decode(decoders, 1)).facts.width == 40


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
    await (await source.start()).stop()  # requests and answers still match
    await source.close()
    assert not find_decoders(os.getpid()) + find_zygotes(os.getpid())


OWNER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from tests.unit.test_isolation import Box, Decoders, SMALL, decode, find_decoders, have_started
async def main():
    decoders = Decoders(1, timeout_s=60)
    await decoders.warm_up()
    await decode(decoders, 1)
    while not have_started(os.getpid(), 2):  # one that is suspended earlier never will have
        await asyncio.sleep(0.05)
    for child in find_decoders(os.getpid()):
        child.suspend()
    asyncio.create_task(decode(decoders, 1))
    await asyncio.sleep(0.2)
    print("busy", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_killed_worker_leaves_neither_zygote_nor_busy_decoder() -> None:
    code = OWNER.format(root=str(Path(__file__).parents[2]))
    with subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == "busy\n"
        family = psutil.Process(owner.pid).children(recursive=True)
        assert len(family) >= 3  # a zygote, a busy decoder and a spare one
        assert have_started(owner.pid, 2)
        owner.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
    assert alive == []


HOARDS = """
make, hoard = box.make_image, []
def make_image(file, job):
    hoard.append(b"x" * 200_000_000)
    return make(file, job)
box.make_image = make_image
"""


async def test_one_that_holds_much_memory_after_its_answer_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: dict[int, list[int]]
) -> None:
    monkeypatch.setattr(sys, "executable", str(changed_zygote(tmp_path, HOARDS)))
    async with running() as decoders:
        for _ in range(3):
            assert (await decode(decoders, 1)).facts.width == 40
            assert not any(has_begun(child) for child in find_decoders(os.getpid()))
    assert len(served) == 3


# --- a decoder without a job ---------------------------------------------------------------------


COMPUTES = """
def spin():
    for _ in iter(int, 1):
        pass
run = box.run_job
def run_job(*given):
    box.receive_job = lambda channel: spin()
    return run(*given)
box.run_job = run_job
"""
WRITES = """
send = box.send
def twice(channel, answer, body=b''):
    send(channel, answer, body)
    if 'width' in answer:
        send(channel, {'undecodable': 'encrypted'})
box.send = twice
"""


async def test_one_that_computes_without_a_job_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(changed_zygote(tmp_path, COMPUTES)))
    with structlog.testing.capture_logs() as logged:
        async with running() as decoders:
            await decode(decoders, 1)
            (child,) = (each for each in find_decoders(os.getpid()) if has_begun(each))
            await until(lambda: asyncio.sleep(0, not child.is_running()))
    (killed,) = (entry for entry in logged if entry["event"] == "idle decoder killed")
    assert (killed["pid"], killed["log_level"]) == (child.pid, "warning")
    assert killed["error"] == "the decoder computed without a job"


async def test_one_that_writes_without_a_job_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: dict[int, list[int]]
) -> None:
    monkeypatch.setattr(sys, "executable", str(changed_zygote(tmp_path, WRITES)))
    with structlog.testing.capture_logs() as logged:
        async with running() as decoders:
            for _ in range(3):
                assert (await decode(decoders, 1)).facts.width == 40
                (child,) = (each for each in find_decoders(os.getpid()) if has_begun(each))

                async def is_gone(child: psutil.Process = child) -> bool:
                    return not child.is_running()

                await until(is_gone)
    assert len(served) == 3
    faults = {entry["error"] for entry in logged if entry["event"] == "idle decoder killed"}
    assert faults == {"the decoder wrote without a job"}


async def test_what_one_writes_without_a_job_is_never_the_next_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the job is sent in the moment before the bytes arrive."""
    monkeypatch.setattr(sys, "executable", str(changed_zygote(tmp_path, WRITES)))
    async with running() as decoders:
        for _ in range(20):
            with suppress(DecoderFault):
                assert (await decode(decoders, 1)).facts.width == 40


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
    """Make an image of 49 megapixels of noise."""
    tile, image = images.noise(1000, 1000), Image.new("RGB", (7000, 7000))
    for place in range(49):
        image.paste(tile, (place % 7 * 1000, place // 7 * 1000))
    return images.encode(image, kind, **({"compress_level": 1} if kind == "PNG" else {}))


@contextmanager
def busy_machine() -> Iterator[None]:
    """Have two processes more compute than there are processors."""
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
    """It has freed a large image before it answers, and its clock is up to date by then."""
    large = await asyncio.to_thread(large_image, kind)
    broken = large[: len(large) // 2]
    files = [large, SMALL, broken, SMALL, b"no image", *[SMALL] * 40]
    with structlog.testing.capture_logs() as logged:
        async with running(timeout_s=300) as decoders:
            with busy_machine():
                for content in files:
                    with suppress(Undecodable):
                        await decode(decoders, 1, content)
                    await asyncio.sleep(0.005)  # whatever it still does, it does now
                    for pool in decoders._pools.values():
                        pool.tend()
    assert [entry for entry in logged if entry["log_level"] == "warning"] == []


async def test_a_request_out_of_place_ends_no_other_process() -> None:
    """A zygote ends nothing but what it has forked."""
    source = forks_module.Source(Box.IMAGES, ())
    decoder = await source.start()
    running_zygote = source._zygote
    assert running_zygote is not None
    assert await running_zygote.end(os.getpid()) == (0, 0)
    await decoder.stop()
    assert await running_zygote.end(decoder.pid) == (0, 0)
    await source.close()
