"""The isolation of a decoder: what it inherits, its limits, and what it cannot do."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pillow_heif
import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import structlog

from shared.errors import Undecodable
from tests.data import images, pdfs
from tests.support.decoders import decode, limits_of, opened, python_with_changed_child
from worker.decoding import pool as pool_module
from worker.decoding import process as decoder_module
from worker.decoding.child import MAX_DESCRIPTORS
from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.decoding.process import Decoder
from worker.decoding.protocol import MAX_MEMORY_BYTES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def open_to_view(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let decoders keep their privileges, so that tests can inspect them without root.

    This does not change what decoders inherit.
    """
    change = "from worker.sandbox import privileges; privileges.drop = lambda: None"
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, change))


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


@LINUX
async def test_its_limits_are_set_and_cannot_be_raised(decoder: Decoder) -> None:
    found = await asyncio.to_thread(limits_of, decoder.pid)
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
    sys.exit("libseccomp is missing")
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
        # The thumbnail of a small lossless image (here the TIFF) is also lossless.
        kind = "png" if name == "tiff" else "jpg"
        assert (made.facts.width, made.facts.height, made.extension) == (120, 80, kind)
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


async def test_an_unsealed_decoder_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        sys, "executable", python_with_changed_child(tmp_path, "child.seal = lambda **_: False")
    )
    pool_module.warn_unsealed.cache_clear()
    pool = Decoders(2, timeout_s=20)
    with structlog.testing.capture_logs() as logged:
        await pool.warm_up()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()
    warnings = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert warnings == ["decoders run without a filter of system calls: libseccomp is missing"]


@LINUX
def test_it_is_handed_a_file_that_it_can_only_read() -> None:
    with opened(b"the original") as descriptor:
        with decoder_module.reopen_to_read(descriptor) as readable:
            assert os.pread(readable, 99, 0) == b"the original"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(readable, b"x")
        assert os.write(descriptor, b"x") == 1


@LINUX
@pytest.mark.usefixtures("open_to_view")
async def test_it_inherits_nothing_but_its_socket() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    secret, other = os.pipe()
    # The descriptor is inheritable, as if a library had made it so by mistake.
    os.set_inheritable(secret, True)
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
