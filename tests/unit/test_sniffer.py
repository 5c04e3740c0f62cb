"""The box in which files are identified: its answers, its walls, and its children's ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio
import structlog

from shared.errors import DecoderFault
from tests.data import images
from tests.data.documents import DOCUMENTS, HEAD
from tests.support.identifying import measure
from tests.support.seal import NO_CAPABILITY, SETS, python_that_cannot_seal, status_of
from tests.support.service import until
from worker.sandbox.privileges import BOX_USER
from worker.sniffing import child, sniffer
from worker.sniffing.identify import sniff
from worker.sniffing.process import Child, Server
from worker.sniffing.protocol import HEADER, MAX_ANSWER_BYTES, MAX_ASKED_BYTES, MAX_PIECES
from worker.sniffing.signatures import image_type
from worker.sniffing.sniffer import Sniffers

pytestmark = pytest.mark.slow

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
TEXT = b"plain words\n"


def server_process() -> psutil.Process | None:
    """Find the fork server that this process has started and that still lives."""
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if (
                "worker.sniffing.child" in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                return process
    return None


def children() -> list[int]:
    """List the ids of the server's living children."""
    server = server_process()
    found = [] if server is None else server.children()
    return [one.pid for one in found if one.status() != psutil.STATUS_ZOMBIE]


async def ends(pid: int) -> None:
    """Wait until a process is no more, or only a zombie that nobody waits for."""

    async def has_ended() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await until(has_ended)


async def identify(of: Sniffers, content: bytes, organization_id: int = 1) -> str:
    """Have a file named that lies in a store."""

    async def read(start: int, end: int) -> bytes:
        return content[start:end]

    return await of.identify(organization_id, content[:HEAD], len(content), read)


@pytest_asyncio.fixture
async def sniffers() -> AsyncIterator[Sniffers]:
    """A server without children."""
    assert server_process() is None
    started = Sniffers(timeout_s=20)
    await started.warm_up()
    yield started
    await started.close()
    assert server_process() is None


# --- its answers ----------------------------------------------------------------------------------


async def test_a_file_has_the_same_type_in_the_box_and_outside(sniffers: Sniffers) -> None:
    asked_of = 0
    for name, (make, _, _) in DOCUMENTS.items():
        content = make()
        found, asked = measure(content)
        assert await identify(sniffers, content) == found, name
        asked_of += bool(asked)
    assert asked_of > 5  # so that ranges were sent as well
    for content in (b"", b"\0", b"\xe9t\xe9\n", images.HTML, images.SVG):
        assert await identify(sniffers, content) == measure(content)[0]
    assert len(children()) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(images.encode(images.quadrants(), name) for name in ("JPEG", "PNG", "GIF", "WEBP")),
        images.photo(),
        images.gif_with_script(),
        images.png_with_zip(),
        images.png_with_html(),
        images.png_of_size(30_000, 30_000),
        images.many_scans(20),
        images.encode(images.quadrants(), "WEBP", lossless=True),
    ],
)
def test_a_signature_names_an_image_as_libmagic_does(content: bytes) -> None:
    assert image_type(content) == sniff(content) == measure(content)[0]
    for end in (4, 12, 16, 20, 40):  # libmagic may still know one that is cut off
        assert image_type(content[:end]) in (None, sniff(content[:end]))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "jpeg"])
def test_no_other_file_has_the_signature_of_an_image(name: str) -> None:
    content = DOCUMENTS[name][0]()
    found = image_type(content)
    assert found is None or found == measure(content)[0]


async def test_an_image_needs_no_box() -> None:
    started = Sniffers(timeout_s=20)
    assert await identify(started, images.photo()) == "image/jpeg"
    assert server_process() is None


def test_a_worker_does_not_load_libmagic_where_its_credentials_are() -> None:
    code = (
        "import sys, worker.app, worker.queue.start;"
        " print([n for n in sys.modules if 'magic' in n])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_bug_of_ours_is_told_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.sniffing.identify.mime_type", lambda _: 1 / 0)
    answer = child.answer(4, [b"word"])
    assert answer["fault"].startswith("ZeroDivisionError in test_sniffer.py:")
    with structlog.testing.capture_logs() as logged, pytest.raises(DecoderFault, match="_fault"):
        sniffer._checked(answer, 4, [b"word"])
    assert [entry["fault"] for entry in logged] == [answer["fault"]]


# --- its walls ------------------------------------------------------------------------------------


@LINUX
async def test_its_children_hold_nothing_and_can_do_nothing(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = children()
    status = await asyncio.to_thread(status_of, pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["CapEff"] == status["CapPrm"] == NO_CAPABILITY
    limits = await asyncio.to_thread(Path(f"/proc/{pid}/limits").read_text)
    assert f"Max address space         {child.MAX_MEMORY_BYTES}" in limits
    if os.geteuid() == 0:
        assert status["Uid"] == status["Gid"] == " ".join([str(BOX_USER)] * 4)
        assert status["Groups"] == ""
        assert {name: status[name] for name in SETS} == dict.fromkeys(SETS, NO_CAPABILITY)


@LINUX
async def test_it_inherits_no_environment_and_no_descriptor(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    await identify(sniffers, TEXT)
    server = server_process()
    assert server is not None
    assert server.environ() == {}
    (pid,) = children()
    folders = [server.pid] if not os.access(f"/proc/{pid}/fd", os.R_OK) else [server.pid, pid]
    for process in folders:
        folder = f"/proc/{process}/fd"
        targets = {int(name): os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
        assert {targets.pop(number) for number in (0, 1, 2)} == {"/dev/null"}
        (left,) = targets.values()
        assert left.startswith("socket:")


@LINUX
async def test_one_that_must_be_sealed_and_is_not_gets_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, "no library"))
    strict, lenient = (
        Sniffers(timeout_s=20, must_be_sealed=must_be_sealed) for must_be_sealed in (True, False)
    )
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_fault"),
    ):
        await identify(strict, TEXT)
    assert [entry["event"] for entry in logged] == ["sniffer is not sealed: no file is sent to it"]
    assert children() == []
    await strict.close()
    assert (await identify(lenient, TEXT)).startswith("text/plain")
    await lenient.close()


# --- its children ---------------------------------------------------------------------------------


async def test_a_child_sees_the_files_of_one_organization(sniffers: Sniffers) -> None:
    seen = {}
    for organization_id in (1, 2, 1, 2):
        before = set(children())
        await identify(sniffers, TEXT, organization_id)
        started = set(children()) - before
        if started:
            assert organization_id not in seen
            (seen[organization_id],) = started
    assert sorted(seen) == [1, 2]
    assert set(children()) == set(seen.values())


async def test_only_so_many_organizations_have_one(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniffer, "PLACES", 2)
    await identify(sniffers, TEXT, 1)
    (first,) = children()
    await identify(sniffers, TEXT, 2)
    await identify(sniffers, TEXT, 1)
    await identify(sniffers, TEXT, 3)  # in place of the one of 2
    assert len(children()) == 2
    assert first in children()
    assert sorted(sniffers._idle) == [1, 3]


async def test_many_files_of_many_organizations_at_once(sniffers: Sniffers) -> None:
    contents = [make() for make, _, _ in DOCUMENTS.values()]
    jobs = [(content, number % 40) for number, content in enumerate(contents)]
    found = await asyncio.gather(*(identify(sniffers, *job) for job in jobs))
    assert found == [measure(content)[0] for content, _ in jobs]
    assert 1 < len(children()) <= sniffer.PLACES


async def test_one_is_replaced_after_some_thousands_of_files(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniffer, "FILES_PER_CHILD", 2)
    await identify(sniffers, TEXT)
    (first,) = children()
    await identify(sniffers, TEXT)
    assert children() == []
    await identify(sniffers, TEXT)
    assert children() != [first]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_of_a_file_is_replaced(
    sniffers: Sniffers, number: signal.Signals
) -> None:
    await identify(sniffers, TEXT)
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(identify(sniffers, TEXT))
    other = await identify(sniffers, TEXT, 2)  # which does not wait for it
    assert other.startswith("text/plain")
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_died"),
    ):
        await job
    assert [(entry["event"], entry["status"]) for entry in logged] == [("sniffer died", -number)]
    assert await identify(sniffers, TEXT) == other
    assert pid not in children()


async def test_one_that_takes_too_long_is_killed(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    sniffers._timeout_s = 0.3
    with pytest.raises(DecoderFault, match="decoder_stalled"):
        await identify(sniffers, TEXT)
    assert children() == []
    sniffers._timeout_s = 20
    assert (await identify(sniffers, TEXT)).startswith("text/plain")


async def test_one_whose_file_is_given_up_answers_no_other_file(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(identify(sniffers, b"<html>"))
    await until(lambda: asyncio.sleep(0, not sniffers._idle))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert children() == []
    assert (await identify(sniffers, TEXT)).startswith("text/plain")


async def test_a_server_that_dies_is_replaced_and_leaves_no_child(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = children()
    server = server_process()
    assert server is not None
    server.kill()
    await asyncio.to_thread(server.wait, 10)
    if sys.platform == "linux":
        await ends(pid)
    for organization_id in (1, 2):  # their attempts fail, and the server's end is noticed
        with suppress(DecoderFault):
            await identify(sniffers, TEXT, organization_id)
    for organization_id in (1, 2):
        assert (await identify(sniffers, TEXT, organization_id)).startswith("text/plain")


async def test_nothing_is_left_when_the_worker_is_gone() -> None:
    started = Sniffers(timeout_s=20)
    await identify(started, TEXT)
    server = server_process()
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    assert server is not None
    assert started._server is not None
    started._server._control.close()
    assert await asyncio.to_thread(started._server._process.wait, 10) == 0
    await ends(pid)
    started._idle[1].channel.close()


async def test_one_that_does_not_start_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    started = Sniffers(timeout_s=20)
    with structlog.testing.capture_logs() as logged:
        await started.warm_up()
    assert [entry["event"] for entry in logged] == ["sniffers do not start"]
    with pytest.raises(DecoderFault, match="decoder_fault"):
        await identify(started, TEXT)
    monkeypatch.undo()
    assert (await identify(started, TEXT)).startswith("text/plain")
    await started.close()


@pytest.mark.parametrize("after_s", [0, 0.001, 0.02, 0.1])
async def test_one_that_is_not_wanted_before_it_has_started_leaves_nothing(after_s: float) -> None:
    me = psutil.Process()
    before = me.num_fds()
    starting = asyncio.create_task(Server.start())
    await asyncio.sleep(after_s)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await (await starting).stop()

    async def nothing_is_left() -> bool:
        return server_process() is None and me.num_fds() <= before

    await until(nothing_is_left)


# --- a child without a question -------------------------------------------------------------------


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
    DIES: "the sniffer is gone",
}


def changed_box(folder: Path, what: str) -> str:
    """Write a Python whose fork server's children do something after each answer."""
    code, python = folder / "box.py", folder / "python"
    code.write_text(MISBEHAVES.format(what=what))
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I {code} "$@"\n')
    python.chmod(0o755)
    return str(python)


@LINUX
@pytest.mark.parametrize("what", FAULTS)
async def test_one_that_does_something_without_a_question_is_ended(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, what))
    started = Sniffers(timeout_s=20)
    await started.warm_up()
    with structlog.testing.capture_logs() as logged:
        assert (await identify(started, TEXT)).startswith("text/plain")
        (child,) = started._idle.values()
        await until(lambda: asyncio.sleep(0, not started._idle))
        await ends(child.pid)
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
    """Also where no look at idle ones came in between."""
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, what))
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


async def test_what_one_writes_without_a_question_is_never_the_next_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the question is sent in the moment before the bytes arrive."""
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, WRITES))
    started = Sniffers(timeout_s=20)
    for _ in range(20):
        with suppress(DecoderFault):
            assert (await identify(started, TEXT)).startswith("text/plain")
    await started.close()


@LINUX
async def test_one_that_dies_while_idle_costs_no_attempt(sniffers: Sniffers) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV):
        await identify(sniffers, TEXT)
        (pid,) = children()
        os.kill(pid, number)
        await ends(pid)
        assert (await identify(sniffers, TEXT)).startswith("text/plain")


@LINUX
async def test_one_that_computes_too_long_for_its_question_is_ended_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = "child.identify.identify = lambda *_: iter(lambda: [0 for _ in iter(int, 1)], 0)"
    monkeypatch.setattr(sys, "executable", changed_box(tmp_path, what))
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
            await asyncio.sleep(0.002)  # whatever it still does, it does now
    assert logged == []
    assert len(children()) == 1


# --- what comes out of the box is not believed ----------------------------------------------------


def framed(answer: Any) -> bytes:
    """Write an answer as a child does."""
    head = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return HEADER.pack(len(head), 0) + head


NO_PROCESS = 2**22
"""An id that no process has: it is the limit of them on Linux."""


@asynccontextmanager
async def with_liar(answer: Any) -> AsyncIterator[Sniffers]:
    """Put one that was taken over in the place of organization 1's child.

    It answers each question with these bytes, or with this object and the question's name.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    sniffers = Sniffers(timeout_s=20)
    sniffers._idle[1] = Child(NO_PROCESS, ours, cast(Server, SimpleNamespace(lives=False)))
    sniffers._children = 1

    async def lie() -> None:
        reader, writer = await asyncio.open_connection(sock=theirs)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head_bytes, body_bytes = HEADER.unpack(await reader.readexactly(HEADER.size))
                job = json.loads(await reader.readexactly(head_bytes))["job"]
                await reader.readexactly(body_bytes)
                writer.write(framed({"job": job, **answer}) if isinstance(answer, dict) else answer)
                await writer.drain()
        writer.close()

    lying = asyncio.create_task(lie())
    yield sniffers
    await lying


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_ANSWER_BYTES + 1, 0),
        HEADER.pack(2**32 - 1, 2**32 - 1),
        HEADER.pack(10, 1),
        framed(b"no JSON"),
        framed(b"\xff\xfe"),
        framed(b"[" * MAX_ANSWER_BYTES),
        framed(b""),
        framed(None),
        framed({}),
        framed({"name": "image/png"}),
        framed({"name": "image/png", "job": "0" * 16}),
        {},
        framed([]),
        *(
            {"name": name}
            for name in (
                "",
                "text",
                "text/",
                "text/html\n",
                "text/html\r\nX: y",
                "a/b; c=d",
                5,
                "text/html; charset=\n",
                "text/ht ml",
                "té/xt",
                "a" * 200 + "/b",
                None,
            )
        ),
        {"range": [0, 0]},
        {"range": [-1, 5]},
        {"range": [5, 4]},
        {"range": [0, 10**7 + 1]},
        {"range": [0, MAX_ASKED_BYTES + 1]},
        {"range": ["0", "1"]},
        {"range": [False, True]},
        {"range": [0, 1.5]},
        {"range": [1]},
        {"range": [0, 1, 2]},
        {"range": None},
        {"range": {}},
        {"fault": "\x1b[2J"},
        {"fault": "a" * 1000},
        {"fault": {}},
    ],
    ids=lambda answer: repr(answer)[:60],
)
async def test_an_answer_that_makes_no_sense_is_the_childs_end(answer: Any) -> None:
    async def read(start: int, end: int) -> bytes:
        raise AssertionError("no range is read that was not checked")

    async with with_liar(answer) as sniffers:
        with pytest.raises(DecoderFault, match="decoder_died"):
            await sniffers.identify(1, TEXT, 10**7, read)
        assert not sniffers._idle
        assert sniffers._children == 0


async def test_only_so_many_ranges_are_read() -> None:
    seen: list[tuple[int, int]] = []

    async def read(start: int, end: int) -> bytes:
        seen.append((start, end))
        return b"x"

    async with with_liar({"range": [0, 1]}) as sniffers:
        with pytest.raises(DecoderFault, match="decoder_died"):
            await sniffers.identify(1, TEXT, 10**7, read)
    assert len(seen) == MAX_PIECES - 1


async def test_what_reading_raises_is_passed_on_and_costs_no_child(sniffers: Sniffers) -> None:
    content = DOCUMENTS["docx-far"][0]()

    async def read(start: int, end: int) -> bytes:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await sniffers.identify(1, content[:HEAD], len(content), read)
    assert len(sniffers._idle) == 1
