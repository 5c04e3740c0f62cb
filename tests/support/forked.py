"""Processes of the service that a fork server starts.

They behave like those of `subprocess.Popen` and start much faster.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Lock

ROOT = Path(__file__).parents[2]

USUAL = ("ATTACHMENTS_", "AWS_")
"""Prefixes of variables that the service reads after its imports.

A process is forked only if its environment has no other variables except PATH. Libraries read other
variables when they are imported, and the fork server has already imported them.
"""


class Forked:
    """A forked process. Its methods do the same as those of `subprocess.Popen`."""

    def __init__(self, pid: int, result: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._result = result

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit status.

        Raises TimeoutExpired if the process still runs after `timeout` seconds.
        """
        found = self._look(timeout)
        if found is None:
            raise subprocess.TimeoutExpired(["forked"], timeout or 0)
        return found

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._result], [], [], timeout)[0]:
            answer = self._result.recv(1024)
            assert answer, "the fork server has ended"
            self.returncode = os.waitstatus_to_exitcode(json.loads(answer)["status"])
            self._result.close()
        return self.returncode


Started = Forked | subprocess.Popen[bytes]


class ForkServer:
    """The one fork server of the test process; it starts at the first use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: dict[str, socket.socket] = {}
        self._folder = TemporaryDirectory(prefix="attachments-fork-server-")

    @property
    def faults(self) -> Path:
        """The file to which forked APIs write answers that do not match the API's description."""
        return Path(self._folder.name) / "faults"

    def fork(
        self,
        program: Sequence[str],
        *,
        environment: Mapping[str, str],
        out: int,
        err: int,
        folder: Path,
        own_session: bool,
    ) -> Forked:
        """Start Python with the arguments `program`; `out` and `err` are the descriptors of its
        output.

        The first argument is `-m` or `-c`.
        """
        kind, content, *arguments = program
        wanted = {
            "kind": kind,
            "program": content,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder),
            "own_session": own_session,
        }
        result, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._lock, theirs:
            requests = self._running()[kind]
            socket.send_fds(requests, [json.dumps(wanted).encode()], [out, err, theirs.fileno()])
        answer = result.recv(1024)
        assert answer, "the fork server has ended"
        return Forked(json.loads(answer)["pid"], result)

    def _running(self) -> Mapping[str, socket.socket]:
        """Return the sockets for requests, by the kind of the program."""
        if not self._requests:
            pairs = {
                kind: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                for kind in ("-m", "-c")
            }
            self._requests = {kind: ours for kind, (ours, _) in pairs.items()}
            theirs = [each for _, each in pairs.values()]
            numbers = [each.fileno() for each in theirs]
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.fork_server",
                    *map(str, numbers),
                    str(self.faults),
                ],
                pass_fds=numbers,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"]},
            )
            for each in theirs:
                each.close()
            atexit.register(self._end)
        return self._requests

    def _end(self) -> None:
        assert self._process is not None
        for each in self._requests.values():
            each.close()
        self._process.wait()
        self._folder.cleanup()


server = ForkServer()


def start_module(
    program: Sequence[str],
    environment: Mapping[str, str],
    *,
    out: int,
    err: int,
    folder: Path = ROOT,
    own_session: bool = False,
    may_fork: bool = True,
) -> Started:
    """Start Python with the arguments `program`. A module (`-m MODULE …`) is forked if possible.

    A new Python is started if `may_fork` is false, or if the environment has other variables than
    PATH and the service's. Code (`-c`) always starts a new Python, because it replaces functions
    before other modules import them.
    """
    usual = all(name.startswith(USUAL) or name == "PATH" for name in environment)
    if may_fork and usual:
        return server.fork(
            program,
            environment=environment,
            out=out,
            err=err,
            folder=folder,
            own_session=own_session,
        )
    return subprocess.Popen(
        [sys.executable, *program],
        env={"PYTHONPATH": str(ROOT), **environment} if folder != ROOT else dict(environment),
        cwd=folder,
        stdout=out,
        stderr=err,
        start_new_session=own_session,
    )


def run_module(
    program: Sequence[str],
    environment: Mapping[str, str],
    *,
    timeout_s: float,
    folder: Path = ROOT,
) -> tuple[int, bytes, bytes]:
    """Run a module, wait until it ends, and return its exit status, standard output and standard
    error.

    The function blocks the calling thread.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        process = start_module(
            program, environment, out=out.fileno(), err=err.fileno(), folder=folder
        )
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        return status, _content(out.fileno()), _content(err.fileno())


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
