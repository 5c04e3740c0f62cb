"""The box around a decoder: what it may not do, and what becomes of one that misbehaves."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pillow_heif
import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio
import structlog
from PIL import Image

from shared.errors import DecoderFault, Undecodable
from tests.data import images, pdfs
from tests.support.decoders import children, decode, find_decoders, find_zygotes, has_job, opened
from tests.support.service import until
from worker.decoding import pool as pool_module
from worker.decoding import process as decoder_module
from worker.decoding.child import MAX_DESCRIPTORS
from worker.decoding.children import Spawned
from worker.decoding.decoders import Decoders
from worker.decoding.forks import Forked
from worker.decoding.formats import Box
from worker.decoding.pool import SPARES
from worker.decoding.process import Decoder
from worker.decoding.protocol import (
    HEADER,
    MAX_ANSWER_BYTES,
    MAX_MEMORY_BYTES,
    MAX_THUMBNAIL_BYTES,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
ZOMBIE = psutil.STATUS_ZOMBIE
JOB = "0123456789abcdef"
"""Where an answer names its job: a liar puts the real name there."""

GOOD = {
    "job": JOB,
    "content_type": "image/png",
    "extension": None,
    "width": 1,
    "height": 1,
    "carries_more": False,
}


@pytest_asyncio.fixture
async def decoder() -> AsyncIterator[Decoder]:
    """One decoder."""
    started = await Decoder.start()
    yield started
    await started.stop()


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[Decoders]:
    """A pool of one decoder, and one to spare."""
    assert children() == []
    started = Decoders(1, timeout_s=20)
    await started.warm_up()
    yield started
    await started.close()
    assert children() == []


async def test_it_decodes_one_file_after_the_other(decoder: Decoder) -> None:
    for edge in (100, 400, 700):
        with opened(images.photo(edge, edge)) as descriptor:
            made = await decoder.decode(descriptor, timeout_s=20)
        assert (made.facts.width, made.facts.height) == (edge, edge)
        assert made.content_type == "image/jpeg"
        assert max(Image.open(io.BytesIO(made.body)).size) == min(edge, 320)
    assert decoder.jobs == 3


async def test_a_bad_file_costs_it_nothing(decoder: Decoder) -> None:
    for content, code in [
        (b"", "damaged"),
        (b"no image", "damaged"),
        (images.encode(images.noise(99, 99), "PNG")[:40], "damaged"),
        (images.png_of_size(40_000, 40_000), "too_expensive"),
        (images.many_scans(200), "too_expensive"),
    ]:
        with opened(content) as descriptor, pytest.raises(Undecodable) as rejected:
            await decoder.decode(descriptor, timeout_s=20)
        assert rejected.value.code == code
    with opened(images.photo()) as descriptor:
        assert await decoder.decode(descriptor, timeout_s=20)


@LINUX
@pytest.mark.parametrize(
    "change",
    ["pass", "box.BUDGET = box.Cost(memory_bytes=10**12, cpu_s=0)"],
    ids=["its budget", "its address space"],
)
async def test_row75_what_takes_more_memory_than_it_has_is_too_expensive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, change))
    pool = Decoders(1, timeout_s=100)
    await pool.warm_up()
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        await decode(pool, images.png_of_size(40_000, 40_000))
    assert (caught.value.facts.width, caught.value.facts.height) == (40_000, 40_000)
    await pool.close()


async def test_a_header_alone_is_read_where_no_more_is_asked_for(decoder: Decoder) -> None:
    with opened(images.photo(300, 200)) as descriptor:
        with pytest.raises(Undecodable, match="too_expensive") as caught:
            await decoder.decode(descriptor, timeout_s=20, header_only=True)
        assert (caught.value.facts.width, caught.value.facts.height) == (300, 200)
        assert (await decoder.decode(descriptor, timeout_s=20)).facts.width == 300


@LINUX
async def test_the_size_is_told_of_a_file_that_its_decoder_was_ended_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spin = (
        "real = box.make_image; box.make_image = lambda file, job:"
        " sum(0 for _ in iter(int, 1)) if not job['header_only'] else real(file, job)"
    )
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, spin))
    pool = Decoders(1, timeout_s=2)
    await pool.warm_up()
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        await decode(pool, images.photo(300, 200))
    assert (caught.value.facts.width, caught.value.facts.height) == (300, 200)
    await pool.close()


@pytest.fixture
def open_to_view(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start decoders as the user of these tests and dumpable: who is not root can look into them.

    What they inherit does not depend on it.
    """
    change = "from worker.sandbox import privileges; privileges.drop = lambda: None"
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, change))


@LINUX
@pytest.mark.usefixtures("open_to_view")
async def test_its_environment_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    started = await Decoder.start()
    try:
        assert psutil.Process(started.pid).environ() == {}
    finally:
        await started.stop()


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """Read the limits of a process, soft and hard. prlimit may not: it is of another user."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


@LINUX
async def test_its_limits_are_set_and_cannot_be_raised(decoder: Decoder) -> None:
    found = await asyncio.to_thread(limits, decoder.pid)
    for name, value in {
        "Max address space": MAX_MEMORY_BYTES,
        "Max file size": 0,
        "Max processes": 0,
        "Max open files": MAX_DESCRIPTORS,
        "Max core file size": 0,
    }.items():
        assert found[name] == (str(value), str(value))


SEALED = """
import ctypes, fcntl, os, signal, socket, subprocess, sys, termios, threading
sys.path.insert(0, {root!r})
from worker.sandbox.seccomp import seal
pair = socket.socketpair()
if not seal(threads={threads}):
    sys.exit("libseccomp is not there")
attempts = {{
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write": lambda: os.open("/tmp/x", os.O_WRONLY | os.O_CREAT),
    "list": lambda: os.listdir("/"),
    "remove": lambda: os.unlink("/nowhere"),
    "socket": lambda: socket.socket(),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "duplicate": lambda: os.dup(0),
    "own": lambda: fcntl.fcntl(pair[0], fcntl.F_SETOWN, os.getppid()),
    "choose a signal": lambda: fcntl.fcntl(pair[0], fcntl.F_SETSIG, signal.SIGKILL),
    "ask for signals": lambda: fcntl.fcntl(pair[0], fcntl.F_SETFL, os.O_RDWR | os.O_ASYNC),
    "control": lambda: fcntl.ioctl(pair[0], termios.FIONREAD, bytes(4)),
    "spawn": lambda: subprocess.Popen(["/bin/true"]),
    "rename": lambda: os.rename("/nowhere", "/nowhere-else"),
}}
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError:
        continue
    except OSError as error:
        print(name, error)
    else:
        print(name, "is possible")
bytearray(50_000_000)
thread = threading.Thread(target=bytearray, args=(5,))
try:
    thread.start()
    thread.join()
    started = True
except RuntimeError:
    started = False
if started is not {threads}:
    print("thread", started)
print("done", flush=True)
"""


@LINUX
@pytest.mark.parametrize("threads", [False, True], ids=["alone", "with threads"])
def test_a_sealed_process_can_open_start_connect_and_signal_nothing(threads: bool) -> None:
    code = SEALED.format(root=str(Path(__file__).parents[2]), threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


@LINUX
@pytest.mark.parametrize("kind", Box)
async def test_it_is_sealed(kind: Box) -> None:
    started = await Decoder.start(kind)
    try:
        assert started.sealed
        status = await asyncio.to_thread(Path(f"/proc/{started.pid}/status").read_text)
        assert "Seccomp:\t2\n" in status
    finally:
        await started.stop()


@LINUX
@pytest.mark.parametrize("name", ["avif", "tiff", "heic"])
async def test_a_sealed_one_decodes_further_formats_where_they_are_asked_for(name: str) -> None:
    if name == "heic":
        pillow_heif.register_heif_opener()
    content = images.encode(images.quadrants(), "HEIF" if name == "heic" else name)
    plain, chosen = await Decoder.start(), await Decoder.start(more=[name])
    try:
        with opened(content) as descriptor:
            with pytest.raises(Undecodable):
                await plain.decode(descriptor, timeout_s=20)
            made = await chosen.decode(descriptor, timeout_s=20)
        assert chosen.sealed
        assert (made.facts.width, made.facts.height, made.extension) == (120, 80, "jpg")
    finally:
        await plain.stop()
        await chosen.stop()


@LINUX
async def test_a_sealed_one_draws_documents() -> None:
    started = await Decoder.start(Box.DOCUMENTS)
    try:
        with opened(pdfs.plain()) as descriptor:
            made = await started.decode(descriptor, timeout_s=20)
        assert (made.facts.pages, made.facts.width, made.content_type) == (1, None, "image/jpeg")
    finally:
        await started.stop()


def changed_box(folder: Path, change: str) -> str:
    """Write a program to run in place of Python, whose box is changed by some code first."""
    code = "import sys, time; from worker.decoding import child as box;"
    code += f"from worker.decoding.formats import Box; {change};"
    code += "from importlib import import_module; run = import_module(sys.argv[1]).main;"
    code += "run(int(sys.argv[4]), Box(sys.argv[2]), ())"
    program = folder / "python"
    # called as: python -I -m worker.decoding.zygote KIND MORE FD
    words = f'{sys.executable} -I -c "{code}" "$3" "$4" "$5" "$6"'
    program.write_text(f"#!/bin/sh\nunset PWD\nexec {words}\n")  # the shell itself sets PWD
    program.chmod(0o755)
    return str(program)


async def test_where_it_cannot_be_sealed_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, "box.seal = lambda **_: False"))
    pool_module._warn_unsealed.cache_clear()
    pool = Decoders(2, timeout_s=20)
    with structlog.testing.capture_logs() as logged:
        await pool.warm_up()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()
    warnings = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert warnings == ["decoders run without a filter of system calls: libseccomp is missing"]


@LINUX
async def test_row74_one_that_computes_for_too_long_is_ended_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spin = "box.make_image = lambda file, job: sum(0 for _ in iter(int, 1))"
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, spin))
    monkeypatch.setattr(decoder_module, "CPU_SHARE", 0.001)
    pool = Decoders(1, timeout_s=100)
    await pool.warm_up()
    (child,) = children()
    with pytest.raises(Undecodable, match="too_expensive"):
        await decode(pool, images.photo())
    assert not child.is_running()
    await pool.close()


@LINUX
async def test_one_that_its_own_clock_on_the_wall_ends_was_not_the_files_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = (
        "import signal; box.make_image = lambda file, job:"
        " signal.setitimer(signal.ITIMER_REAL, 0.05) and sum(0 for _ in iter(int, 1))"
    )
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, ends))
    pool = Decoders(1, timeout_s=20)
    with pytest.raises(DecoderFault, match="decoder_stalled"):
        await decode(pool, images.photo())
    await pool.close()


@LINUX
async def test_row76_one_that_gives_itself_up_for_want_of_memory_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    greedy = "import os; box.make_image = lambda file, job: (b'x' * 800_000_000, os.abort())"
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, greedy))
    pool = Decoders(1, timeout_s=20)
    with pytest.raises(Undecodable, match="too_expensive"):
        await decode(pool, images.photo())
    await pool.close()
    # also where it lies dead for a while before anybody looks
    started = await Decoder.start()
    with opened(images.photo()) as descriptor, pytest.raises(EOFError):
        await started.decode(descriptor, timeout_s=20)
    await asyncio.to_thread(os.waitid, os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    await started.stop()
    assert started.ran_out_of_memory()


@LINUX
async def test_one_that_dies_of_something_else_did_not_run_out_of_memory() -> None:
    # The system counts also what the process held that started it.
    ballast = b"x" * MAX_MEMORY_BYTES
    decoder = await Decoder.start()
    del ballast
    os.kill(decoder.pid, signal.SIGSEGV)
    await asyncio.to_thread(os.waitid, os.P_PID, decoder.pid, os.WEXITED | os.WNOWAIT)
    assert await decoder.stop() == -signal.SIGSEGV
    assert not decoder.ran_out_of_memory()


@LINUX
def test_it_is_handed_a_file_that_it_can_only_read() -> None:
    with opened(b"the original") as descriptor:
        with decoder_module._read_only(descriptor) as readable:
            assert os.pread(readable, 99, 0) == b"the original"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(readable, b"x")
        assert os.write(descriptor, b"x") == 1


async def test_one_whose_end_is_not_waited_for_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = Forked.end

    async def end_late(child: Forked) -> tuple[int, int]:
        ended = await end(child)
        await asyncio.sleep(0.5)
        return ended

    monkeypatch.setattr(Forked, "end", end_late)
    pool = Decoders(1, timeout_s=0.5)
    await pool.warm_up()
    (child,) = children()
    child.suspend()
    job = asyncio.create_task(decode(pool, images.photo()))
    await until(lambda: asyncio.sleep(0, not child.is_running() or child.status() == ZOMBIE))
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    pool._pools[Box.IMAGES]._timeout_s = 20
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("after_s", [0, 0.001, 0.02, 0.1])
async def test_one_that_is_not_wanted_before_it_has_started_leaves_nothing(after_s: float) -> None:
    me = psutil.Process()
    before = me.num_fds()
    starting = asyncio.create_task(Decoder.start())
    await asyncio.sleep(after_s)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await (await starting).stop()

    async def nothing_is_left() -> bool:
        return not find_decoders(os.getpid()) and me.num_fds() <= before

    await until(nothing_is_left)


@LINUX
async def test_every_job_may_compute_anew(decoder: Decoder) -> None:
    process = psutil.Process(decoder.pid)
    seen: set[str] = set()
    for _ in range(2):
        with opened(images.encode(images.noise(2000, 2000), "PNG")) as descriptor:
            while process.cpu_times().user < 1 + len(seen):
                await decoder.decode(descriptor, timeout_s=20)
        soft, hard = (await asyncio.to_thread(limits, decoder.pid))["Max cpu time"]
        assert hard == "unlimited"
        seen.add(soft)
    assert len(seen) == 2


async def test_kinds_of_box_share_the_places() -> None:
    decoders = Decoders(1, timeout_s=20)
    await decoders.warm_up()
    assert len(children()) == 1
    (child,) = children()
    child.suspend()
    with opened(images.photo()) as descriptor:
        jobs = [
            asyncio.create_task(decoders.decode(kind, 1, descriptor))
            for kind in (Box.IMAGES, Box.DOCUMENTS)
        ]
        await until(lambda: asyncio.sleep(0, len(children()) == 2))  # and the next spare
        assert len(find_zygotes(os.getpid())) == 1  # none is started for what has no place yet
        child.resume()
        assert (await jobs[0]).facts.width == 800
        with pytest.raises(Undecodable):  # no document
            await jobs[1]
    assert len(find_zygotes(os.getpid())) == 2
    await decoders.close()
    assert children() == []


@LINUX
@pytest.mark.usefixtures("open_to_view")
async def test_it_inherits_nothing_but_its_socket() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    secret, other = os.pipe()
    os.set_inheritable(secret, True)  # as a careless library would
    started = await Decoder.start()
    try:
        folder = f"/proc/{started.pid}/fd"
        targets = {int(name): os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
        assert {targets.pop(number) for number in (0, 1, 2)} == {"/dev/null"}
        (left,) = targets.values()
        assert left.startswith("socket:")
        assert not psutil.Process(started.pid).net_connections(kind="inet")
    finally:
        await started.stop()
        listener.close()
        os.close(secret)
        os.close(other)


@LINUX
@pytest.mark.usefixtures("open_to_view")
async def test_no_descriptor_is_left_over_from_a_job() -> None:
    decoder = await Decoder.start()
    folder = f"/proc/{decoder.pid}/fd"
    before = len(os.listdir(folder))
    for content in (images.photo(), b"no image", images.photo()):
        with opened(content) as descriptor, suppress(Undecodable):
            await decoder.decode(descriptor, timeout_s=20)
    assert len(os.listdir(folder)) == before
    await decoder.stop()


async def test_it_ends_when_the_worker_is_gone() -> None:
    started = await Decoder.start()
    started._channel.close()
    await asyncio.to_thread(os.waitid, os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert await started.stop() == 0


async def test_one_that_hangs_is_killed_and_its_file_is_not_to_blame() -> None:
    pool = Decoders(1, timeout_s=0.5)
    await pool.warm_up()
    (child,) = children()
    child.suspend()
    with pytest.raises(DecoderFault, match="decoder_stalled"):
        await decode(pool, images.photo())
    assert not child.is_running()
    pool._pools[Box.IMAGES]._timeout_s = 20
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_without_a_job_costs_no_file_an_attempt(
    pool: Decoders, number: signal.Signals
) -> None:
    for _ in range(2):  # a spare one, then the organization's own
        found = children()
        for child in found:
            child.send_signal(number)
        await until(lambda: asyncio.sleep(0, not children()))
        assert (await decode(pool, images.photo())).facts.width == 800
        assert not {child.pid for child in found} & {child.pid for child in children()}


async def begun(pool: Decoders) -> asyncio.Task[Any]:
    """Begin a job that does not end: its decoder is frozen."""
    (child,) = children()
    child.suspend()
    job = asyncio.create_task(decode(pool, images.photo()))
    await until(lambda: asyncio.sleep(0, has_job(os.getpid())))
    return job


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_at_work_is_replaced(pool: Decoders, number: signal.Signals) -> None:
    (child,) = children()
    job = await begun(pool)
    child.send_signal(number)
    child.resume()
    with pytest.raises(DecoderFault, match="decoder_died"):
        await job
    assert (await decode(pool, images.photo())).facts.width == 800
    assert not child.is_running()


async def test_one_whose_job_is_cancelled_is_replaced(pool: Decoders) -> None:
    (child,) = children()
    job = await begun(pool)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not child.is_running()
    assert (await decode(pool, images.photo())).facts.width == 800


@pytest.mark.parametrize("content", [images.photo(9, 9), b"no image"], ids=["good", "bad"])
async def test_one_is_replaced_after_some_hundreds_of_jobs(
    pool: Decoders, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "JOBS_PER_DECODER", 2)
    (child,) = children()
    for _ in range(2):
        with suppress(Undecodable):
            await decode(pool, content)
    assert not child.is_running()
    assert (await decode(pool, images.photo(9, 9))).facts.width == 9


async def test_many_jobs_share_few_decoders() -> None:
    pool = Decoders(2, timeout_s=30)
    await pool.warm_up()
    found = await asyncio.gather(*(decode(pool, images.photo(n, 7)) for n in range(10, 40)))
    assert [made.facts.width for made in found] == list(range(10, 40))
    assert len(children()) <= 2 + SPARES
    await pool.close()
    assert children() == []


async def test_one_that_does_not_start_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pool = Decoders(1, timeout_s=5)
    await pool.warm_up()
    with pytest.raises(DecoderFault, match="decoder_fault"):
        await decode(pool, images.photo())
    monkeypatch.undo()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


# --- what comes out of the box is not believed -------------------------------------------------


class Liar:
    """Plays a decoder that has been taken over: answers its first job with given bytes."""

    def __init__(self, answer: bytes) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.process = subprocess.Popen(["sleep", "60"])
        self.decoder = Decoder(Spawned(self.process), ours)
        self._thread = threading.Thread(target=self._answer, args=(answer,))
        self._thread.start()

    def _answer(self, answer: bytes) -> None:
        data, descriptors, _, _ = socket.recv_fds(self.theirs, 65536, 1)
        for descriptor in descriptors:
            os.close(descriptor)
        name = json.loads(data[HEADER.size :])["job"]
        self.theirs.sendall(answer.replace(JOB.encode(), name.encode()))

    async def stop(self) -> None:
        """End it."""
        self._thread.join()
        self.theirs.close()
        await self.decoder.stop()


def framed(answer: Any, body: bytes = b"thumbnail") -> bytes:
    """Write an answer as the box does."""
    head = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return HEADER.pack(len(head), len(body)) + head + body


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_ANSWER_BYTES + 1, 0),
        HEADER.pack(2**32 - 1, 2**32 - 1),
        HEADER.pack(10, MAX_THUMBNAIL_BYTES + 1),
        framed(b"no JSON"),
        framed(b"\xff\xfe"),
        framed(b"[" * MAX_ANSWER_BYTES),
        framed(b""),
        framed([GOOD]),
        framed(None),
        framed({}),
        framed({**GOOD, "job": "f" * len(JOB)}),
        framed({**GOOD, "job": None}),
        framed(GOOD, b""),
        framed({**GOOD, "content_type": "text/html"}),
        framed({**GOOD, "content_type": ["image/png"]}),
        framed({**GOOD, "extension": "html"}),
        framed({**GOOD, "extension": "../../x"}),
        framed({**GOOD, "width": 0}),
        framed({**GOOD, "height": -1}),
        framed({**GOOD, "width": 2**31}),
        framed({**GOOD, "width": "1"}),
        framed({**GOOD, "width": None}),
        framed({**GOOD, "height": 1.5}),
        framed({**GOOD, "width": True}),
        framed({**GOOD, "pages": 1}),
        framed({**GOOD, "width": None, "height": None}),
        framed({**GOOD, "width": None, "height": None, "pages": 0}),
        framed({**GOOD, "reason": "too_large"}),
        framed({"job": JOB, "undecodable": "damaged", "width": -1, "height": 1}),
        framed({"job": JOB, "undecodable": "damaged", "width": 1, "height": None}),
        framed({**GOOD, "width": None, "height": None, "pages": "1"}),
    ],
    ids=lambda answer: repr(answer[HEADER.size :][:40]),
)
async def test_an_answer_that_makes_no_sense_is_the_decoders_end(answer: bytes) -> None:
    liar = Liar(answer)
    pool = Decoders(1, timeout_s=10)
    pool._pools[Box.IMAGES]._spares.append(liar.decoder)
    with pytest.raises(DecoderFault, match="decoder_died"):
        await decode(pool, b"")
    assert liar.process.returncode is not None
    await liar.stop()
    await pool.close()


@pytest.mark.parametrize(
    "code", ["no such reason", "", 5, ["damaged"], "too_large", {"a": 1}, "missing\n"]
)
async def test_a_reason_that_does_not_exist_is_no_reason(code: Any) -> None:
    liar = Liar(framed({"job": JOB, "undecodable": code}))
    with opened(b"") as descriptor, pytest.raises(Undecodable, match=r"^damaged$"):
        await liar.decoder.decode(descriptor, timeout_s=10)
    await liar.stop()
