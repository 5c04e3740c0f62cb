"""The service continues if the reader of its log stops, ends, or has a full disk."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.embedded.ports import PARTNER, choose_port
from shared.log_writer import LineWriter
from tests.support.faults import PHOTO, SOON, changed, reaches
from tests.support.forked import Started, start_module
from tests.support.service import Service, scrape, until

pytestmark = pytest.mark.fault

LINES = 50_000
FLOOD = f"""
import structlog, threading, time
from shared.log import get_logger
def flood():
    while not structlog.is_configured():
        time.sleep(0.1)
    time.sleep(1)
    log = get_logger("flood")
    for number in range({LINES}):
        log.warning("flood", number=number, filling="x" * 100)
    log.warning("flood is over")
threading.Thread(target=flood, daemon=True).start()
"""


@pytest.fixture
def free_port() -> int:
    """Return a port on which no process listens."""
    return choose_port()


@contextmanager
def running(
    environment: Mapping[str, str], program: tuple[str, ...], output: int, **overrides: str
) -> Iterator[Started]:
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    process = start_module(
        program,
        {"PATH": os.environ["PATH"], **environment, **changes},
        out=output,
        err=output,
        own_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_reader_that_stops_holds_up_nothing(service: Service, free_port: int) -> None:
    """Uploads are processed while the worker writes many lines that nobody reads."""
    reading, writing = os.pipe()
    program = tuple(changed(FLOOD, "worker"))
    with running(
        service.environment, program, writing, metrics_port=str(free_port), **SOON
    ) as worker:
        os.close(writing)
        url = f"http://127.0.0.1:{free_port}/metrics"

        async def dropped() -> float:
            try:
                text = await scrape(url)
            except (aiohttp.ClientError, AssertionError):
                return 0
            name = "attachments_log_lines_dropped_total "
            found = [line for line in text.splitlines() if line.startswith(name)]
            return float(found[0].removeprefix(name)) if found else 0

        await until(dropped, within_s=60)
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, attachment_id, "ready", within_s=60)

        text = await asyncio.to_thread(read_until, reading, b"lines of the log were dropped")
        assert b"Traceback" not in text
        worker.send_signal(signal.SIGTERM)
        await asyncio.to_thread(read_all, reading)
        assert await asyncio.to_thread(worker.wait, 20) == 0
    os.close(reading)


@pytest.mark.parametrize("name", ["api", "worker"])
async def test_a_full_pipe_does_not_keep_a_process_from_its_end(
    service: Service, free_port: int, name: str
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    port = {"api_port": str(free_port), "metrics_port": str(free_port + PARTNER)}
    shown = free_port if name == "api" else free_port + PARTNER
    with running(service.environment, ("-m", name), writing, **port) as process:
        await until(lambda: answers(shown), within_s=40)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("name", ["api", "worker"])
async def test_a_pipe_that_is_closed_ends_no_process(
    service: Service, free_port: int, name: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    port = {"api_port": str(free_port), "metrics_port": str(free_port + PARTNER)}
    shown = free_port if name == "api" else free_port + PARTNER
    with running(service.environment, ("-m", name), writing, **port) as process:
        os.close(writing)
        await until(lambda: answers(shown), within_s=40)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
async def test_a_full_disk_under_the_log_ends_no_process(service: Service, free_port: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with running(service.environment, ("-m", "api"), full, api_port=str(free_port)) as process:
        await until(lambda: answers(free_port), within_s=40)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    os.close(full)


async def test_after_a_disk_was_full_one_line_counts_the_dropped_lines(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    fd = os.dup(full)
    writer = LineWriter(fd)
    for number in range(5):
        writer.write_line(b"lost %d\n" % number)
    writer.flush()
    os.dup2(writing, fd)
    writer.write_line(b"kept\n")
    writer.flush()
    assert os.read(reading, 1000) == b"5 lines were dropped\nkept\n"


def test_a_pipe_that_others_made_non_blocking_costs_no_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    lines = [b"%d %s\n" % (number, b"x" * 5000) for number in range(100)]
    for line in lines:
        writer.write_line(line)
    writer.flush(0.3)  # ends at its timeout of 0.3 s, because the reader reads nothing yet
    text = b""
    while len(text) < sum(map(len, lines)) and select.select([reading], [], [], 5)[0]:
        text += os.read(reading, 3000)
    assert text == b"".join(lines)


def test_after_a_line_was_written_in_part_each_lost_line_is_counted(tmp_path: Path) -> None:
    program = (
        "import os, resource, sys\n"
        "from shared.log_writer import DROPPED, LineWriter\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (7, 7))  # as if the disk were full after that\n"
        "writer = LineWriter(fd)\n"
        "for lines in (2, 3):\n"
        "    for _ in range(lines):\n"
        "        writer.write_line(b'abcd\\n')\n"
        "    writer.flush()\n"
        "(metric,) = DROPPED.collect()\n"
        "print(int(metric.samples[0].value))\n"
    )
    path = tmp_path / "log"
    ended = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert path.read_bytes() == b"abcd\nab"
    assert ended.stdout == "4\n"


def test_lines_that_are_built_later_keep_their_order_and_one_that_fails_is_counted() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    writer.write_line(b"first\n")
    writer.queue(lambda number: b"%d\n" % number, (2,))
    writer.queue(lambda: 1 // 0, ())  # type: ignore[arg-type,return-value]  # it must fail
    writer.queue(lambda: None, ())
    writer.write_line(b"last\n")
    writer.flush()
    assert os.read(reading, 1000) == b"1 lines were dropped\nfirst\n2\nlast\n"


@pytest.mark.parametrize("pause_s", [0, 0.002], ids=["a quick reader", "a slow reader"])
def test_lines_of_two_processes_on_one_pipe_are_never_mixed(pause_s: float) -> None:
    reading, writing = os.pipe()
    theirs = "import os\nfor _ in range(3000): os.write(1, b'b' * 300 + b'\\n')"
    other = subprocess.Popen([sys.executable, "-c", theirs], stdout=writing)
    writer = LineWriter(writing)

    def write_all() -> None:
        for _ in range(3000):
            writer.write_line(b"a" * 300 + b"\n")

    threading.Thread(target=write_all).start()
    text = b""
    while text.count(b"\n") < 6000:
        assert select.select([reading], [], [], 20)[0]
        text += os.read(reading, 8000)
        time.sleep(pause_s)
    assert other.wait() == 0
    assert set(text.splitlines()) == {b"a" * 300, b"b" * 300}


async def answers(port: int) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/health/live") as answer,
        ):
            return answer.status in (200, 404)  # the metrics server may answer 404
    except aiohttp.ClientError:
        return False


def read_until(descriptor: int, words: bytes) -> bytes:
    text = b""
    while words not in text:
        chunk = os.read(descriptor, 1 << 20)
        assert chunk, text[-2000:]
        text += chunk
    return text


def read_all(descriptor: int) -> None:
    while os.read(descriptor, 1 << 20):
        pass
