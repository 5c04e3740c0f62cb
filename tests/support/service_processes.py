"""Processes of the service under test: the API, and workers."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Self

from deploy.embedded.ports import choose_port
from tests.support.service import until


class ServiceProcess:
    """A process of the service, in a group of its own that can be killed.

    Python is started with `program`; it runs after `sign` appears in its log.
    """

    program: Sequence[str]
    sign: str

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        program: Sequence[str] | None = None,
        **overrides: str,
    ) -> None:
        if program is not None:
            self.program = program
        changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
        self.environment = {"PATH": os.environ["PATH"], **environment, **changes}
        self.process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    async def start(self) -> Self:
        """Start it and wait until it is ready."""
        self._log.seek(0)
        self._log.truncate()
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, *self.program],
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return self.sign in self.log()

        await until(ready, within_s=30)
        return self

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        """Everything it has written so far."""
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    async def stop(self, number: int = signal.SIGTERM, *, within_s: float = 15) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return await asyncio.to_thread(self.process.wait, within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.log()[-4000:]}") from None

    def kill(self) -> None:
        """Kill it at once, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Kill it if it still runs, and forget its log."""
        self.kill()
        self._log.close()


class WorkerProcess(ServiceProcess):
    """A worker. Its loop runs from `sign` on; it takes wake-ups from `worker is ready` on."""

    program = ("-m", "worker")
    sign = "worker has started"


class ApiProcess(ServiceProcess):
    """An API on a port of its own, which stays the same when it is started again."""

    program = ("-m", "api")
    sign = "api listens"

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        program: Sequence[str] | None = None,
        **overrides: str,
    ) -> None:
        port = choose_port()
        super().__init__(environment, program=program, api_port=str(port), **overrides)
        self.url = f"http://127.0.0.1:{port}"
