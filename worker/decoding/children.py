"""Processes of the box, as the worker sees them: started without anything, ended for good."""

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
    """A decoder's process, as its parent sees it."""

    @property
    def pid(self) -> int:
        """Its process id, which stays its own until `end`."""

    @property
    def doomed(self) -> bool:
        """Whether it has died or will at once, although its socket may not be closed yet."""

    async def end(self) -> tuple[int, int]:
        """Kill it, if it still lives; gives its exit status and ru_maxrss. May be repeated."""


class Spawned:
    """A child of this very process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._peak = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def doomed(self) -> bool:
        """Whether it has died; its socket tells as soon."""
        return self._process.returncode is not None

    async def end(self) -> tuple[int, int]:
        """Kill it, if it still lives; gives its exit status and ru_maxrss. May be repeated."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                # not by Popen, which would wait for it first and forget what it used
                os.kill(self.pid, signal.SIGKILL)
        return await asyncio.to_thread(self._wait), self._peak

    def _wait(self) -> int:
        if self._process.returncode is None:
            try:
                _, status, usage = os.wait4(self.pid, 0)
            except ChildProcessError:  # somebody else has waited for it
                return self._process.wait()
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._peak = usage.ru_maxrss
        return self._process.returncode


async def spawn(
    module: str, kind: Box, more: Collection[str]
) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start a module of the box in a Python of its own, with one end of a pair of sockets.

    Returns the process and our end. Raises DecoderFault.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def start() -> "subprocess.Popen[bytes]":
        with theirs:
            return subprocess.Popen(
                # isolated: neither the environment nor the working directory has a say
                [
                    sys.executable, "-I", "-m", module,
                    kind.value, ",".join(sorted(more)), str(theirs.fileno()),
                ],
                env={},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    spawning = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(spawning), ours
    except OSError as error:
        ours.close()
        raise DecoderFault("decoder_fault") from error
    except asyncio.CancelledError:
        ours.close()
        spawning.add_done_callback(_end_unwanted)  # it will be started all the same
        raise


def _end_unwanted(spawning: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    """End a child that was started for a caller who is no longer there."""
    if not spawning.cancelled() and spawning.exception() is None:
        process = spawning.result()
        process.kill()
        asyncio.get_running_loop().run_in_executor(None, process.wait)
