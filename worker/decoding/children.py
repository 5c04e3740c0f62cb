"""Start and end sandboxed processes from the worker. They start with an empty environment."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol

from shared.errors import DecoderFault
from worker.decoding.formats import Box


class Child(Protocol):
    """The part of a decoder process that the worker uses."""

    @property
    def pid(self) -> int:
        """The process id. The kernel does not reuse it until `end` is called."""

    @property
    def doomed(self) -> bool:
        """True if the process is known to be dead or dying, even if its socket is still open."""

    async def end(self) -> tuple[int, int]:
        """Kill the process if it is alive; return its exit status and ru_maxrss.

        May be repeated.
        """


class Spawned:
    """A decoder process that is a direct child of the worker."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._peak = 0

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def doomed(self) -> bool:
        """True if the exit status was read, so the process has ended.

        Before that, only the socket shows whether the process has died.
        """
        return self._process.returncode is not None

    async def end(self) -> tuple[int, int]:
        """Kill the process if it is alive; return its exit status and ru_maxrss.

        May be repeated.
        """
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                # Do not use Popen.kill: it calls `poll`, which may reap the child without reading
                # ru_maxrss.
                os.kill(self.pid, signal.SIGKILL)
        return await asyncio.to_thread(self._wait), self._peak

    def _wait(self) -> int:
        if self._process.returncode is None:
            try:
                _, status, usage = os.wait4(self.pid, 0)
            except ChildProcessError:  # other code has already reaped the child
                return self._process.wait()
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._peak = usage.ru_maxrss
        return self._process.returncode


async def spawn(
    module: str, kind: Box, more: Collection[str]
) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start a sandbox module in a new Python process, connected by a socket pair.

    Returns the process and the worker's end of the pair. Raises DecoderFault if the process cannot
    be started.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def start() -> "subprocess.Popen[bytes]":
        with theirs:
            return subprocess.Popen(
                # -I (isolated): environment variables and the working directory have no effect.
                [
                    sys.executable,
                    "-I",
                    "-m",
                    module,
                    kind.value,
                    ",".join(sorted(more)),
                    str(theirs.fileno()),
                ],
                env={},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    spawning = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(spawning), ours
    except OSError as error:
        ours.close()
        raise DecoderFault("decoder_fault") from error
    except asyncio.CancelledError:
        ours.close()
        # The thread cannot be stopped, so end the process as soon as the thread has started it.
        spawning.add_done_callback(_end_unwanted)
        raise


def _end_unwanted(spawning: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    """End a child whose caller was cancelled while the child was being started."""
    if not spawning.cancelled() and spawning.exception() is None:
        process = spawning.result()
        process.kill()
        asyncio.get_running_loop().run_in_executor(None, process.wait)
