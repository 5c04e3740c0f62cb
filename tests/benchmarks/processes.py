"""Functions that run processes of the service, and measure their CPU time and memory."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships none, and one module needs it

from tests.support.service import until

MIB = 1024 * 1024


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far; ended children are included."""
    return float(sum(sum(process.cpu_times()[:4]) for process in _family(pid)))


def fine_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process without its children, with the system's full precision.

    Linux counts nanoseconds for each thread (`schedstat`), but only hundredths of a second for a
    process. Threads that have ended are not included.
    """
    tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if not tasks:
        return float(sum(psutil.Process(pid).cpu_times()[:2]))
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def uss_bytes(pid: int, *, children: bool = False) -> int:
    """Return how many bytes of memory become free if the process ends (USS).

    If `children` is true, the memory of its children is added. Unless this process runs as root,
    decoders are counted with their resident size, which includes shared memory.
    """
    family = _family(pid) if children else [psutil.Process(pid)]
    return sum(_uss_bytes(process) for process in family)


def _uss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


@dataclass(slots=True)
class Peak:
    """The highest measured memory of a process, in bytes."""

    bytes: int = 0


@asynccontextmanager
async def watched(
    pid: int, *, children: bool = False, every_s: float = 0.02
) -> AsyncIterator[Peak]:
    """Measure the memory (USS) of a process every `every_s` seconds during the block."""
    peak = Peak()

    async def look() -> None:
        with suppress(psutil.NoSuchProcess):  # a child may have ended
            peak.bytes = max(peak.bytes, await asyncio.to_thread(uss_bytes, pid, children=children))

    async def watch() -> None:
        while True:
            await look()
            await asyncio.sleep(every_s)

    watching = asyncio.create_task(watch())
    try:
        yield peak
        await look()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


@asynccontextmanager
async def running_module(
    module: str, *args: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[int, int]]:
    """Run `python -m MODULE` in the block; yield its process id and port."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-m", module, *args],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=log,
            stderr=log,
        )

        async def port() -> int | None:
            printed = os.pread(log.fileno(), 1_000_000, 0).decode(errors="replace")
            assert process.poll() is None, printed
            return next((found for line in printed.splitlines() if (found := _port(line))), None)

        try:
            yield process.pid, await until(port, within_s=30)
        finally:
            process.kill()
            process.wait()


def _port(line: str) -> int | None:
    try:
        printed: Any = json.loads(line)
    except ValueError:
        return None
    if isinstance(printed, dict):
        printed = printed.get("port")
    return printed if isinstance(printed, int) else None
