"""Child processes that cannot outlive this process: start, watch, restart and stop them."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.errors import AttachmentsError

LAUNCH = Path(__file__).with_name("launch.py")
POLL_S = 0.02
WATCH_S = 0.1
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
SETTLED_S = 30.0
"""If a process ran for at least this many seconds, the pause before its next restart is
FIRST_PAUSE_S again."""

MAX_LINE_BYTES = 64 * 1024

WriteLine = Callable[[str, bytes], None]
"""A function that gets the name of a process and a line of its output."""


class StartFailed(AttachmentsError):
    """A part could not be started. The message names the part and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to run.

    Its output goes to the file `log`, or line by line to `write_line`. Its input is the file
    `stdin`, or empty. If `prefix` is given, this command is started with the program as its
    arguments. `user` is the uid and gid of the program; it may be given only if this process is
    root. `stop_signal` asks the program to stop. On Linux, the kernel sends `orphan_signal` to the
    program when this process ends.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: Path | None = None
    log: Path | None = None
    write_line: WriteLine | None = None
    prefix: tuple[str, ...] = ()
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL


class Child:
    """A running program in its own process group. It may be used in several event loops.

    Create it in the main thread, because the kernel ends the program when the thread that created
    it ends (prctl(2), PR_SET_PDEATHSIG).
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        with _output(program) as output, open(program.stdin or os.devnull, "rb") as given:
            self._process = subprocess.Popen(
                _command(program),
                env=dict(program.env),
                cwd=program.cwd,
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.pid = self._process.pid
        if self._process.stdout is not None:
            threading.Thread(target=self._read, name=program.name, daemon=True).start()

    @property
    def status(self) -> int | None:
        """The exit status (after a signal, minus its number); None while the program runs."""
        return self._process.poll()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                if self.program.write_line is not None:
                    self.program.write_line(self.program.name, line.rstrip(b"\n"))

    async def wait(self, poll_s: float = POLL_S) -> int:
        """Wait until the program has ended; return its status."""
        while (status := self.status) is None:  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(poll_s)
        return status

    async def stop(self, grace_s: float) -> None:
        """Send the stop signal; kill the whole group after at most `grace_s` seconds."""
        if self.status is None:
            self._process.send_signal(self.program.stop_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), grace_s)
        self.kill()

    def kill(self) -> None:
        """Kill the program and the rest of its group, and wait until the program has ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


def _command(program: Program) -> list[str]:
    uid, gid = program.user or (-1, -1)
    ties = [os.getpid(), int(program.orphan_signal), uid, gid]
    launch = [sys.executable, "-I", "-S", str(LAUNCH), *map(str, ties)]
    return [*program.prefix, *launch, *program.argv]


@contextmanager
def _output(program: Program) -> Iterator[int]:
    if program.log is None:
        yield subprocess.PIPE
        return
    descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def start(program: Program, ready: Callable[[], Awaitable[bool]], within_s: float) -> Child:
    """Run a program, wait until `ready` returns True, and return the child.

    Raises StartFailed if the program ends before it is ready, or is not ready within `within_s`
    seconds. In both cases, and if this call is cancelled, the program is killed.
    """
    deadline = time.monotonic() + within_s
    child = Child(program)
    try:
        while not await ready():
            if child.status is not None:
                raise StartFailed(f"{program.name} ended during its start{_end_of_log(program)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{program.name} did not answer within {within_s:.0f} s")
            await asyncio.sleep(POLL_S)
    except BaseException:
        child.kill()
        raise
    return child


def _end_of_log(program: Program) -> str:
    if program.log is None:
        return ""
    lines = program.log.read_text(errors="replace").split("\n")
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {words} (more in {program.log})"


class Part(Protocol):
    """A process that is restarted whenever it ends. For this, `start` may be called again."""

    @property
    def name(self) -> str:
        """The process's name."""

    child: Child | None

    async def start(self) -> None:
        """Run the process and wait until it answers. Raises StartFailed."""

    async def stop(self, grace_s: float) -> None:
        """Stop the process; do nothing if it does not run."""


class Supervisor:
    """Restarts parts that end after their start."""

    def __init__(self, report: Callable[[str], None], restarted: Callable[[], None]) -> None:
        self._report = report
        self._restarted = restarted
        self._watches: list[asyncio.Task[None]] = []

    def watch(self, part: Part) -> None:
        """Watch a part: restart it whenever it ends, after a pause of 0.2 to 5 s."""
        self._watches.append(asyncio.create_task(self._watch(part), name=f"watch {part.name}"))

    async def release(self) -> None:
        """Stop watching all parts. After that, parts that end are not restarted."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _watch(self, part: Part) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            assert part.child is not None
            since = time.monotonic()
            status = await part.child.wait(WATCH_S)
            part.child.kill()  # kill what is left of its process group
            if time.monotonic() - since > SETTLED_S:
                pause_s = FIRST_PAUSE_S
            self._report(f"{part.name} ended ({_ending(status)}); starting it again")
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                try:
                    await part.start()
                    break
                except (StartFailed, OSError) as error:
                    self._report(f"{error}; trying again")
            self._restarted()


def _ending(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"


async def together(*work: Awaitable[None]) -> None:
    """Wait for all awaitables. At the first exception, cancel the others and raise it."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
