"""Processes of the service under test: the API, workers, and the consumer."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Self

from deploy.embedded.ports import choose_port
from tests.support.forked import Started, start_module
from tests.support.service import Client, Service, until


class ServiceProcess:
    """A process of the service. It has its own process group, which a test can kill.

    `program` is the argument list for Python. The process has started when its log contains `sign`.
    If `may_fork` is false, a new Python is started instead of a fork.
    """

    may_fork = True
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
        self.process: Started | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    async def start(self) -> Self:
        """Start the process, and wait until its log contains `sign`."""
        self._log.seek(0)
        self._log.truncate()
        log = self._log.fileno()
        self.process = start_module(
            self.program,
            self.environment,
            out=log,
            err=log,
            own_session=True,
            may_fork=self.may_fork,
        )

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return self.sign in self.log()

        await until(ready, within_s=120)  # a busy machine is slow to start processes
        return self

    @property
    def pid(self) -> int:
        """Return the process's id."""
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        """Return all output that the process has written so far."""
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    async def stop(self, number: int = signal.SIGTERM, *, within_s: float = 15) -> int:
        """Send a signal, wait until the process ends, and return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await self.ends(within_s=within_s)

    async def ends(self, *, within_s: float = 15) -> int:
        """Wait until the process ends, and return its exit status."""
        assert self.process is not None
        try:
            return await asyncio.to_thread(self.process.wait, within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.log()[-4000:]}") from None

    def kill(self) -> None:
        """Kill the process immediately, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Kill the process if it still runs, and delete its log."""
        self.kill()
        self._log.close()


class WorkerProcess(ServiceProcess):
    """A worker process.

    The worker logs `sign` when its loop runs, and `worker is ready` when it takes wake-ups.
    """

    program = ("-m", "worker")
    sign = "worker has started"


class ApiProcess(ServiceProcess):
    """An API process on a free port. A restart uses the same port."""

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


class ConsumeProcess(ServiceProcess):
    """The process `attachments consume`; its environment must name a queue."""

    program = ("-m", "deploy.cli", "consume")
    sign = "metrics are served"


def client_of(service: Service, api: ApiProcess) -> Client:
    """Return a client of the API process `api`, with the same token as `service.client`."""
    client = service.client
    return Client(
        session=client.session,
        base_url=api.url,
        organization_id=client.organization_id,
        token=client.token,
    )
