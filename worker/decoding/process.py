"""The worker's side of one decoder process, with limits for wall-clock time and CPU time."""

import asyncio
import json
import math
import os
import re
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final

from shared.errors import AttachmentsError, DecoderFault
from shared.facts import THUMB_EDGE, Thumbnail
from worker.decoding.answers import checked
from worker.decoding.children import Child, Spawned, spawn
from worker.decoding.formats import Box
from worker.decoding.protocol import HEADER, MAX_ANSWER_BYTES, MAX_MEMORY_BYTES, Film, max_bytes
from worker.packing import Packing
from worker.sandbox.cpu_time import CPU_SHARE, IDLE_CPU_S, cpu_s
from worker.sandbox.job_clock import LONGEST, JobClock, in_time
from worker.stages import note_cpu

START_TIMEOUT_S = 30.0

MEMORY_SHARE: Final = 0.6
"""If a decoder aborts and used more than this fraction of MAX_MEMORY_BYTES, it probably ran out of
memory. The fraction is below 1, because MAX_MEMORY_BYTES limits its address space, and not all
addresses have memory."""

_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Number of bytes in one unit of `ru_maxrss` (getrusage(2))."""

_MEMORY: Final = re.compile(rb"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)
"""Matches the resident memory and its highest value in /proc/PID/status (proc(5))."""

OWN_ENDS: Final = frozenset(
    -number
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)
)
"""Exit statuses of a process that has called abort(). Usually abort() sends SIGABRT. A sealed
process may not send signals, so abort() executes an invalid instruction instead."""


class TooExpensive(AttachmentsError):
    """The file made the decoder use more CPU time than one file may."""


class Decoder:
    """One decoder process. It works on one file at a time."""

    def __init__(self, child: Child, channel: socket.socket) -> None:
        self._child = child
        self._channel = channel
        self.jobs = 0
        self.sealed = False
        self.owner: int | None = None
        self.idle_since = 0.0
        self._status: int | None = None
        self._held = 0
        self._peak = 0
        self._rested_s = 0.0

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._child.pid

    @classmethod
    async def start(cls, kind: Box = Box.IMAGES, more: Collection[str] = ()) -> "Decoder":
        """Start a decoder as a new Python process; wait until it is ready. Raises DecoderFault."""
        process, channel = await spawn("worker.decoding.child", kind, more)
        decoder = cls(Spawned(process), channel)
        await decoder.await_start()
        return decoder

    async def await_start(self) -> None:
        """Wait until the child is ready for jobs. If not, stop it and raise DecoderFault."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                answer, _ = await self._answer()
                self._has_started(answer)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            await self.stop()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            await self.stop()
            raise

    def _has_started(self, answer: Any) -> None:
        if not isinstance(answer, dict) or type(answer.get("held")) is not int:
            raise EOFError("the decoder's first answer is malformed")
        self.sealed = answer.get("sealed") is True
        self._held = answer["held"]
        self._rested_s = self._cpu_s()

    async def decode(
        self,
        descriptor: int,
        *,
        timeout_s: float,
        header_only: bool = False,
        packing: Packing | None = None,
        edges: Sequence[int] = (THUMB_EDGE,),
        film: Film | None = None,
    ) -> Thumbnail:
        """Decode a file, a preview by its `packing`, or ranges of a `film`.

        Returns a thumbnail for each of `edges`. Raises Undecodable for a fault of the file, and
        always if `header_only` is true. Raises RangeWanted if the film needs another range. Raises
        EOFError if the child died, was active without a job or gave an invalid answer. Raises
        TooExpensive if it used too much CPU time, and TimeoutError if it did not finish although it
        used little CPU time. After each of these three, the caller must stop the child.
        """
        if (fault := self.idle_fault()) is not None:
            raise EOFError(fault)
        self.jobs += 1
        allowed_s = timeout_s * CPU_SHARE
        # The name is random, so that an answer that was sent before the job cannot contain it.
        name = secrets.token_hex(8)
        limits = {"timeout_s": timeout_s * LONGEST, "cpu_s": allowed_s}
        fields = {"job": name, "header_only": header_only, "packing": packing, "edges": edges}
        fields["film"] = None if film is None else asdict(film)
        job = json.dumps({**fields, **limits}).encode()
        self._allow_cpu(allowed_s)
        rested_s = self._rested_s
        clock = JobClock(self.pid, timeout_s, asyncio.get_running_loop().time())
        with reopen_to_read(descriptor) as readable:
            socket.send_fds(self._channel, [HEADER.pack(len(job), 0) + job], [readable])
            # The descriptor stays open until the answer: in /proc, it shows that the decoder has a
            # job.
            try:
                answer, body = await in_time(self._answer(edges), clock)
            except TimeoutError:
                if clock.computed_s() >= allowed_s:
                    raise TooExpensive("the file took too long to compute") from None
                raise
            finally:
                note_cpu(max(0.0, self._cpu_s() - rested_s))
        self._rested_s = self._cpu_s()
        return checked(answer, body, name, edges, film)

    def idle_fault(self) -> str | None:
        """Return what the child did without a job, or None if it did nothing.

        Code from a hostile file could continue after the answer. It could also write bytes to the
        socket, which the worker would read as the answer to the next job.
        """
        if self._child.doomed:
            return "the decoder has ended"
        try:
            unasked = self._channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            if self._cpu_s() - self._rested_s > IDLE_CPU_S:
                return "the decoder computed without a job"
            return None
        except OSError:
            unasked = b""
        return "the decoder wrote without a job" if unasked else "the decoder has ended"

    def resident_bytes(self) -> tuple[int, int]:
        """Return the child's resident memory in bytes: now and peak. Both are 0 outside Linux."""
        found = {"VmRSS": 0, "VmHWM": 0}
        with suppress(OSError), open(f"/proc/{self.pid}/status", "rb") as status:
            for name, kibibytes in _MEMORY.findall(status.read()):
                found[name.decode()] = int(kibibytes) * 1024
        return found["VmRSS"], found["VmHWM"]

    @property
    def peak_bytes(self) -> int:
        """The highest resident memory of the child, in bytes; 0 until `stop` is called."""
        return self._peak * _MAXRSS_UNIT if self._peak > self._held else 0

    def _cpu_s(self) -> float:
        return cpu_s(self.pid)  # 0 if the child is gone, or not on Linux

    def _allow_cpu(self, seconds: float) -> None:
        """Let the kernel end the child after `seconds` more seconds of CPU time (Linux).

        The child sets the same limit, but hostile code in it could raise it again.
        """
        if sys.platform != "linux":
            return
        # This fails if the child has died, or if it runs as another user and this process has no
        # CAP_SYS_RESOURCE. Then the limit of the child itself must be enough.
        with suppress(OSError):
            used = self._cpu_s()
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))

    async def _answer(self, edges: Sequence[int] = ()) -> tuple[Any, bytes]:
        head_bytes, body_bytes = HEADER.unpack(await self._receive(HEADER.size))
        if head_bytes > MAX_ANSWER_BYTES or body_bytes > max_bytes(edges):
            raise EOFError("the decoder's answer is out of bounds")
        return json.loads(await self._receive(head_bytes)), await self._receive(body_bytes)

    async def _receive(self, count: int) -> bytes:
        received = bytearray()
        loop = asyncio.get_running_loop()
        while len(received) < count:
            chunk = await loop.sock_recv(self._channel, count - len(received))
            if not chunk:
                raise EOFError("the decoder has ended")
            received += chunk
        return bytes(received)

    async def stop(self) -> int:
        """Kill the child if it is alive; return its exit status. May be repeated."""
        self._channel.close()
        self._status, self._peak = await self._child.end()
        return self._status

    def ran_out_of_memory(self) -> bool:
        """Return True if the child probably aborted because it ran out of memory.

        Call it after `stop`.
        """
        return (
            self._status in OWN_ENDS
            and self._peak > self._held
            and self._peak * _MAXRSS_UNIT > MAX_MEMORY_BYTES * MEMORY_SHARE
        )


@contextmanager
def reopen_to_read(descriptor: int) -> Iterator[int]:
    """Yield a second, read-only descriptor of the file; without /proc, the given descriptor."""
    try:
        readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc on this system
        yield descriptor
        return
    try:
        yield readable
    finally:
        os.close(readable)
