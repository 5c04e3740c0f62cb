"""The worker's side of the zygote: where fresh decoders come from."""

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
"""How long a zygote may take to fork or to end a decoder; then it is replaced."""

CLOSE_TIMEOUT_S: Final = 5.0

ZYGOTES: Final = 2
"""How many are tried for one decoder, before it is started in a Python of its own."""

log = get_logger(__name__)


class ZygoteGone(AttachmentsError):
    """The zygote has died or does not answer. Its decoders have died with it."""


class Zygote:
    """One zygote process, asked one thing at a time."""

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
        """Whether it still runs: its socket is closed before the kernel kills its decoders."""
        try:
            return self._control.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    @classmethod
    async def start(cls, kind: Box, more: Collection[str]) -> "Zygote":
        """Start one and wait until it has loaded its codecs. Raises DecoderFault."""
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
        """Have a decoder forked, and wait until it is sealed; None where the fork failed.

        Raises DecoderFault, ZygoteGone.
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
        """Kill a decoder, if it still lives; gives its wait status and ru_maxrss.

        Raises ZygoteGone.
        """
        _, status, peak = await asyncio.shield(self._ask(END, pid))
        return status, peak

    def _end_unwanted(self, asking: "asyncio.Task[tuple[int, int, int]]") -> None:
        """End a decoder that was forked for a caller who is no longer there."""
        if not asking.cancelled() and asking.exception() is None and asking.result()[0]:
            self._ask(END, asking.result()[0])

    def _ask(
        self, command: int, pid: int, descriptor: socket.socket | None = None
    ) -> "asyncio.Task[tuple[int, int, int]]":
        """Begin a request in a task: one that is cancelled would leave its answer to the next."""
        asking = asyncio.create_task(self._request(command, pid, descriptor))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        return asking

    def _asked(self, asking: "asyncio.Task[tuple[int, int, int]]") -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # whoever asked may no longer be there to see it

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
                raise EOFError("the zygote is gone")
            received += chunk
        pid, status, peak = ANSWER.unpack(received)
        return pid, status, peak

    async def close(self) -> None:
        """Let it end all its decoders and then itself."""
        if self._asking:
            await asyncio.wait(self._asking)
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            await self.kill()

    async def kill(self) -> None:
        """Kill it; the kernel then kills its decoders."""
        self._control.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.to_thread(self._process.wait)


class Forked:
    """A decoder's process whose parent is the zygote: only that can wait for it."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote = zygote
        self._ended: tuple[int, int] | None = None
        self.pid = pid

    @property
    def doomed(self) -> bool:
        """Whether it has died or will at once."""
        return not self._zygote.alive

    async def end(self) -> tuple[int, int]:
        """Kill it, if it still lives; gives its exit status and ru_maxrss. May be repeated."""
        if self._ended is None:
            try:
                status, peak = await self._zygote.end(self.pid)
                self._ended = os.waitstatus_to_exitcode(status), peak
            except ZygoteGone:
                self._ended = -signal.SIGKILL, 0
        return self._ended


class Source:
    """Starts decoders of one kind: forks of a zygote, or each in a Python of its own.

    The latter where forks are not sound: outside Linux, and where a library of the codecs has
    started threads in the zygote.
    """

    def __init__(self, kind: Box, more: Collection[str]) -> None:
        self._kind = kind
        self._more = more
        self._zygote: Zygote | None = None
        self._forks = sys.platform == "linux"
        self._starting = asyncio.Lock()

    async def start(self) -> Decoder:
        """Start a decoder. Raises DecoderFault."""
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
                    log.warning("codecs start threads, so decoders are not forked",
                                threads=self._zygote.threads)  # fmt: skip
                    self._forks = False
                    await self._zygote.close()
                    self._zygote = None
            return self._zygote

    async def close(self) -> None:
        """End the zygote and every decoder that is left."""
        async with self._starting:
            zygote, self._zygote = self._zygote, None
            if zygote is not None:
                await zygote.close()
