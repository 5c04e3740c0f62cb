"""The process `attachments consume`, which tests can watch, stop and kill."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Self

from tests.support.forked import Started, start_module
from tests.support.service import until

PROGRAM = ("-m", "deploy.cli", "consume")


class ConsumerProcess:
    """The process `attachments consume`; `program` is the argument list for Python."""

    def __init__(
        self,
        environment: Mapping[str, str],
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.environment = dict(environment)
        self._program = program
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.process: Started | None = None

    def launch(self) -> None:
        """Start the process without waiting until it is ready."""
        log = self._log.fileno()
        self.process = start_module(self._program, self.environment, out=log, err=log)

    async def start(self) -> Self:
        """Start the process and wait until it is ready."""
        self.launch()
        await self.logs("consumer is ready")
        return self

    def log(self) -> str:
        """Return all output that the process has written so far."""
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    async def logs(self, words: str, *, within_s: float = 30) -> None:
        """Wait until the log contains the given text."""

        async def printed() -> bool:
            assert self.process is not None
            return words in self.log() or self.process.poll() is not None

        await until(printed, within_s=within_s)
        assert words in self.log(), self.log()[-4000:]

    async def ended(self, *, within_s: float = 15) -> int:
        """Wait until the process ends, and return its exit status."""
        assert self.process is not None
        try:
            return await asyncio.to_thread(self.process.wait, within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.log()[-4000:]}") from None

    async def stop(self, number: int = signal.SIGTERM, *, within_s: float = 15) -> int:
        """Send a signal, wait until the process ends, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended(within_s=within_s)

    def kill(self) -> None:
        """Kill the process immediately, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Kill the process if it still runs, and delete its log."""
        self.kill()
        self._log.close()
