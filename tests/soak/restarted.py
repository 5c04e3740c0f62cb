"""Processes that the soak test kills and freezes. Each is restarted whenever it ends."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.services import answers
from deploy.processes.supervisor import Child, Part, Program, start

START_S = 60.0
"""Maximum duration of a start, in seconds.

It is long, because the soak test keeps the machine busy.
"""


class Kept:
    """A process that the test may kill and freeze, and a record of how often the process ended.

    `unasked` lists the ends that `kill` did not cause.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._kills = 0
        self._noted: Child | None = None
        self.name = part.name
        self.child: Child | None = None
        self.starts = 0
        self.unasked: list[str] = []

    @property
    def alive(self) -> bool:
        """Return True if the process runs. A frozen process also counts as running."""
        return self.child is not None and self.child.status is None

    def adopt(self) -> None:
        """Take over a process that is already running."""
        self.child = self._part.child

    async def start(self) -> None:
        """Start the process, and wait until it answers. Raises StartFailed if it does not start."""
        self._note_end()
        await self._part.start()
        self.child = self._part.child
        self.starts += 1

    async def stop(self, grace_s: float) -> None:
        """Stop the process, and do not restart it. Its exit status does not matter."""
        self._note_end()
        await self._part.stop(grace_s)

    def kill(self) -> None:
        """Kill the process as a crash would; a frozen process is killed too."""
        assert self.child is not None
        self._kills += 1
        os.kill(self.child.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Suspend the process; its connections stay open."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the process if it still runs."""
        if self.child is not None and self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.child.pid, signal.SIGCONT)

    def _note_end(self) -> None:
        if self.child is None or self.child is self._noted or self.child.status is None:
            return
        self._noted = self.child
        if self.child.status == -signal.SIGKILL and self._kills:
            self._kills -= 1
            return
        self.unasked.append(f"{self.name} ended with status {self.child.status}")


class Module:
    """A process of the service, `python -m MODULE`, which writes to its own log."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        environment: Mapping[str, str],
        directory: Path,
        ready: Callable[["Module"], Awaitable[bool]],
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.log = directory / f"{name}.log"
        self._module = module
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._directory = directory
        self._ready = ready
        self._log_start = 0

    async def start(self) -> None:
        """Start the process, and wait until it is ready. Raises StartFailed if it does
        not start.
        """
        self._log_start = self.log_size
        program = Program(
            name=self.name,
            argv=(sys.executable, "-P", "-m", self._module),
            env=self._environment,
            cwd=self._directory,
            log=self.log,
        )
        self.child = await start(program, lambda: self._ready(self), START_S)

    async def stop(self, grace_s: float) -> None:
        """Stop the process, and kill it if it still runs after `grace_s` seconds."""
        if self.child is not None:
            await self.child.stop(grace_s)

    @property
    def log_size(self) -> int:
        """Return the size of the process's log in bytes.

        The log also holds the lines of earlier starts.
        """
        return self.log.stat().st_size if self.log.exists() else 0

    def wrote(self, words: bytes, *, since: int | None = None) -> bool:
        """Return True if the log contains `words` after the position `since`.

        Without `since`, only the log since the last start is read.
        """
        with suppress(FileNotFoundError), self.log.open("rb") as file:
            file.seek(self._log_start if since is None else since)
            return any(words in line for line in file)
        return False


def make_api(name: str, port: int, *, environment: Mapping[str, str], directory: Path) -> Module:
    """Return an API process that listens on this port."""

    async def ready(_: Module) -> bool:
        return await answers(f"http://127.0.0.1:{port}/health/live")

    return Module(
        name,
        "api",
        environment={**environment, "ATTACHMENTS_API_PORT": str(port)},
        directory=directory,
        ready=ready,
    )


def make_worker(name: str, *, environment: Mapping[str, str], directory: Path) -> Module:
    """Return a worker process, which is ready when its log says so."""

    async def ready(module: Module) -> bool:
        return module.wrote(b"worker has started")

    return Module(name, "worker", environment=environment, directory=directory, ready=ready)
