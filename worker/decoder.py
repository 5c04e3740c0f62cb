"""The worker's side of the box: a decoder process, watched by two clocks."""

import asyncio
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from shared.errors import DecoderFault, Rejected
from shared.reasons import REASONS
from worker.box import HEADER, MAX_MEMORY_BYTES
from worker.formats import Box
from worker.thumbnails import MAX_EDGE, Thumbnail

CPU_SHARE: Final = 0.5
"""How much of a job's wall clock its decoder may compute. A file that needs more is hostile: the
slowest honest one of 50 megapixels takes two seconds. One that only waits for a busy machine has
the whole wall clock."""

START_TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 4096
MAX_THUMBNAIL_BYTES = 4 * MAX_EDGE * MAX_EDGE * 2

MEMORY_SHARE: Final = 0.6
"""How much of its memory a decoder had in use, at the least, that is believed to have died of it:
what it may have also counts what it never touched."""

_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in which `ru_maxrss` counts (getrusage(2))."""

_OWN_ENDS: Final = frozenset(
    -number
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)
)
"""How a process ends that gives itself up; one that may send no signals takes what is left."""


class Decoder:
    """One child process, at work on one file at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self.jobs = 0
        self.sealed = False
        self._held = 0
        self._peak = 0

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @classmethod
    async def start(cls, kind: Box = Box.IMAGES, more: Collection[str] = ()) -> "Decoder":
        """Start a child and wait until it has warmed up. Raises DecoderFault."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def spawn() -> "subprocess.Popen[bytes]":
            with theirs:
                return subprocess.Popen(
                    # isolated: neither the environment nor the working directory has a say
                    [
                        sys.executable, "-I", "-m", "worker.box",
                        kind.value, ",".join(sorted(more)), str(theirs.fileno()),
                    ],
                    env={},
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip

        spawning = asyncio.ensure_future(asyncio.to_thread(spawn))
        try:
            decoder = cls(await asyncio.shield(spawning), ours)
        except OSError as error:
            ours.close()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            ours.close()
            spawning.add_done_callback(_end_unwanted)  # it will be started all the same
            raise
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                answer, _ = await decoder._answer()
                decoder._has_started(answer)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            await decoder.stop()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            await decoder.stop()
            raise
        return decoder

    def _has_started(self, answer: Any) -> None:
        if not isinstance(answer, dict) or type(answer.get("held")) is not int:
            raise EOFError("the decoder's first answer makes no sense")
        self.sealed = answer.get("sealed") is True
        self._held = answer["held"]

    async def decode(self, descriptor: int, *, max_pixels: int, timeout_s: float) -> Thumbnail:
        """Have a file decoded. Raises Rejected for the file's fault, EOFError if the child died,
        TimeoutError if it took too long; after the last two the child must be stopped."""
        self.jobs += 1
        cpu_s = timeout_s * CPU_SHARE
        job = json.dumps(
            {"max_pixels": max_pixels, "timeout_s": timeout_s, "cpu_s": cpu_s}
        ).encode()
        async with asyncio.timeout(timeout_s):
            self._allow_cpu(cpu_s)
            with _read_only(descriptor) as readable:
                socket.send_fds(self._channel, [HEADER.pack(len(job), 0) + job], [readable])
            answer, body = await self._answer()
        return _checked(answer, body)

    def _allow_cpu(self, seconds: float) -> None:
        """Have the kernel end the child once it has computed that much longer (Linux).

        The child does so itself as well, but once taken over it could undo that.
        """
        if sys.platform != "linux":
            return
        # It has died, which its socket will tell; or it is another user's and this process has no
        # CAP_SYS_RESOURCE.
        with suppress(OSError):
            # the number of another process's CPU clock (clock_getcpuclockid(3))
            used = time.clock_gettime((~self.pid << 3) | 2)
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))

    async def _answer(self) -> tuple[Any, bytes]:
        head_bytes, body_bytes = HEADER.unpack(await self._receive(HEADER.size))
        if head_bytes > MAX_ANSWER_BYTES or body_bytes > MAX_THUMBNAIL_BYTES:
            raise EOFError("the decoder's answer is out of bounds")
        return json.loads(await self._receive(head_bytes)), await self._receive(body_bytes)

    async def _receive(self, count: int) -> bytes:
        received = bytearray()
        loop = asyncio.get_running_loop()
        while len(received) < count:
            chunk = await loop.sock_recv(self._channel, count - len(received))
            if not chunk:
                raise EOFError("the decoder is gone")
            received += chunk
        return bytes(received)

    async def stop(self) -> int:
        """Kill the child, if it still lives, and return its exit status."""
        self._channel.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                # not by Popen, which would wait for it first and forget what it used
                os.kill(self.pid, signal.SIGKILL)
        return await asyncio.to_thread(self._wait)

    def _wait(self) -> int:
        if self._process.returncode is None:
            try:
                _, status, usage = os.wait4(self.pid, 0)
            except ChildProcessError:  # somebody else has waited for it
                return self._process.wait()
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._peak = usage.ru_maxrss
        return self._process.returncode

    def ran_out_of_memory(self) -> bool:
        """Whether it ended itself for want of memory, as C++ does; asked once it has stopped."""
        return (
            self._process.returncode in _OWN_ENDS
            and self._peak > self._held
            and self._peak * _MAXRSS_UNIT > MAX_MEMORY_BYTES * MEMORY_SHARE
        )


def _end_unwanted(spawning: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    """End a child that was started for a caller who is no longer there."""
    if not spawning.cancelled() and spawning.exception() is None:
        process = spawning.result()
        process.kill()
        asyncio.get_running_loop().run_in_executor(None, process.wait)


@contextmanager
def _read_only(descriptor: int) -> Iterator[int]:
    """Give a descriptor by which nothing can be done to a file but to read it (Linux)."""
    try:
        readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no such folder here
        yield descriptor
        return
    try:
        yield readable
    finally:
        os.close(readable)


def _checked(answer: Any, body: bytes) -> Thumbnail:
    """Believe nothing that comes out of the box before it has been looked at."""
    if not isinstance(answer, dict):
        raise EOFError("the decoder's answer is no object")
    code = answer.get("rejected")
    if code is not None:
        raise Rejected(code if isinstance(code, str) and code in REASONS else "broken")
    width, height, pages = answer.get("width"), answer.get("height"), answer.get("pages")
    content_type, extension = answer.get("content_type"), answer.get("extension")
    carries_more = answer.get("carries_more")
    # an image has a size in pixels, a document has pages
    counts = (width, height) if pages is None else (pages,)
    if (
        not all(type(count) is int and 0 < count < 2**31 for count in counts)
        or (pages is not None and (width, height) != (None, None))
        or content_type not in ("image/jpeg", "image/png", "image/webp")
        or extension not in (None, "png", "jpg")
        or not isinstance(carries_more, bool)
        or not body
    ):
        raise EOFError("the decoder's answer makes no sense")
    return Thumbnail(
        body=body, content_type=content_type, extension=extension, width=width, height=height,
        pages=pages, carries_more=carries_more,
    )  # fmt: skip
