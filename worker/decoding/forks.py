"""The worker's side of the zygote. A zygote is a process from which new decoders are forked."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from shared.errors import AttachmentsError, DecoderFault
from shared.log import get_logger
from worker.decoding.children import spawn
from worker.decoding.formats import Box
from worker.decoding.process import START_TIMEOUT_S, Decoder
from worker.decoding.protocol import ANSWER, END, FORK, REQUEST

ANSWER_TIMEOUT_S = 10.0
"""Time, in seconds, in which a zygote must fork or end a decoder. After that, the zygote is
replaced."""

CLOSE_TIMEOUT_S: Final = 5.0

ZYGOTES: Final = 2
"""If this many zygotes, one after the other, cannot fork a decoder, the decoder is started as a new
Python process."""

log = get_logger(__name__)


class ZygoteGone(AttachmentsError):
    """The zygote died, or was killed because it did not answer. Its decoders die with it."""


class Zygote:
    """One zygote process. It gets one request at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._lock = asyncio.Lock()
        self._asking: set[asyncio.Task[tuple[int, int, int]]] = set()
        self.threads = 0

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True if the socket of the zygote is open.

        When the zygote dies, the kernel first closes this socket and then kills the decoders. So
        this is False before a decoder dies.
        """
        try:
            return self._control.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    @classmethod
    async def start(cls, kind: Box, more: Collection[str]) -> "Zygote":
        """Start a zygote and wait until it has loaded its codecs. Raises DecoderFault."""
        zygote = cls(*await spawn("worker.decoding.zygote", kind, more))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                zygote.threads, *_ = await zygote._receive()
        except (TimeoutError, OSError, EOFError) as error:
            await zygote.kill()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            await zygote.kill()
            raise
        return zygote

    async def fork(self) -> Decoder | None:
        """Have the zygote fork a decoder, and wait until the decoder is ready for jobs.

        Returns None if the zygote could not fork. Raises DecoderFault if the new decoder does not
        start, and ZygoteGone if the zygote does not answer.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        asking = self._ask(FORK, 0, theirs)
        try:
            pid, *_ = await asyncio.shield(asking)
        except ZygoteGone:
            ours.close()
            raise
        except asyncio.CancelledError:
            ours.close()
            asking.add_done_callback(self._end_unwanted)
            raise
        if not pid:
            ours.close()
            return None
        decoder = Decoder(Forked(self, pid), ours)
        await decoder.await_start()
        return decoder

    async def end(self, pid: int) -> tuple[int, int]:
        """Kill a decoder if it is alive; return its wait status and ru_maxrss.

        Raises ZygoteGone if the zygote does not answer.
        """
        _, status, peak = await asyncio.shield(self._ask(END, pid))
        return status, peak

    def _end_unwanted(self, asking: "asyncio.Task[tuple[int, int, int]]") -> None:
        """End a new decoder that nobody wants, because the caller of `fork` was cancelled."""
        if not asking.cancelled() and asking.exception() is None and asking.result()[0]:
            self._ask(END, asking.result()[0])

    def _ask(
        self, command: int, pid: int, descriptor: socket.socket | None = None
    ) -> "asyncio.Task[tuple[int, int, int]]":
        """Send a request in its own task.

        If the caller is cancelled before the answer arrives, the task still reads the answer.
        Otherwise the next request would get this answer.
        """
        asking = asyncio.create_task(self._request(command, pid, descriptor))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        return asking

    def _asked(self, asking: "asyncio.Task[tuple[int, int, int]]") -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            # If the caller was cancelled, nobody retrieves the exception, and asyncio would log it.
            asking.exception()

    async def _request(
        self, command: int, pid: int, descriptor: socket.socket | None
    ) -> tuple[int, int, int]:
        try:
            async with self._lock, asyncio.timeout(ANSWER_TIMEOUT_S):
                descriptors = [] if descriptor is None else [descriptor.fileno()]
                socket.send_fds(self._control, [REQUEST.pack(command, pid)], descriptors)
                return await self._receive()
        except (TimeoutError, OSError, EOFError) as error:
            await self.kill()
            raise ZygoteGone(str(error) or "it does not answer") from error
        finally:
            if descriptor is not None:
                descriptor.close()

    async def _receive(self) -> tuple[int, int, int]:
        received = b""
        loop = asyncio.get_running_loop()
        while len(received) < ANSWER.size:
            chunk = await loop.sock_recv(self._control, ANSWER.size - len(received))
            if not chunk:
                raise EOFError("the zygote has ended")
            received += chunk
        pid, status, peak = ANSWER.unpack(received)
        return pid, status, peak

    async def close(self) -> None:
        """Close the socket, so that the zygote ends its decoders and then itself.

        Waits for running requests first. Kills the zygote after CLOSE_TIMEOUT_S seconds.
        """
        if self._asking:
            await asyncio.wait(self._asking)
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            await self.kill()

    async def kill(self) -> None:
        """Kill the zygote. The kernel then kills its decoders."""
        self._control.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.to_thread(self._process.wait)


class Forked:
    """A decoder process whose parent is the zygote. So only the zygote can reap it."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote = zygote
        self._ended: tuple[int, int] | None = None
        self.pid = pid

    @property
    def doomed(self) -> bool:
        """True if the zygote is dead: the kernel then kills this process."""
        return not self._zygote.alive

    async def end(self) -> tuple[int, int]:
        """Kill the process if it is alive; return its exit status and ru_maxrss.

        May be repeated.
        """
        if self._ended is None:
            try:
                status, peak = await self._zygote.end(self.pid)
                self._ended = os.waitstatus_to_exitcode(status), peak
            except ZygoteGone:
                self._ended = -signal.SIGKILL, 0
        return self._ended


class Source:
    """Starts decoders of one kind of sandbox: forks of a zygote, or new Python processes.

    New processes are used if forks are unsafe: on other systems than Linux, and if a codec library
    has started threads in the zygote.
    """

    def __init__(self, kind: Box, more: Collection[str]) -> None:
        self._kind = kind
        self._more = more
        self._zygote: Zygote | None = None
        self._forks = sys.platform == "linux"
        self._starting = asyncio.Lock()

    async def start(self) -> Decoder:
        """Start a decoder and wait until it is ready for jobs. Raises DecoderFault."""
        for _ in range(ZYGOTES):
            zygote = await self._running()
            if zygote is None:
                break
            try:
                decoder = await zygote.fork()
            except ZygoteGone as error:
                log.warning("zygote died", pid=zygote.pid, error=str(error))
                continue
            if decoder is not None:
                return decoder
        return await Decoder.start(self._kind, self._more)

    async def _running(self) -> Zygote | None:
        if not self._forks:
            return None
        async with self._starting:
            if self._zygote is None or not self._zygote.alive:
                if self._zygote is not None:
                    await self._zygote.kill()
                self._zygote = await Zygote.start(self._kind, self._more)
                if self._zygote.threads != 1:
                    log.warning(
                        "codecs start threads, so decoders are not forked",
                        threads=self._zygote.threads,
                    )
                    self._forks = False
                    await self._zygote.close()
                    self._zygote = None
            return self._zygote

    async def close(self) -> None:
        """End the zygote and all decoders that it has forked."""
        async with self._starting:
            zygote, self._zygote = self._zygote, None
            if zygote is not None:
                await zygote.close()
