"""The worker's side of `worker.sniffing.child`: its fork server, and the children."""

import asyncio
import json
import secrets
import socket
import subprocess
import sys
from contextlib import nullcontext, suppress
from typing import Any, Final

from shared.errors import DecoderFault
from worker.sandbox.cpu_time import CPU_SHARE, IDLE_CPU_S, cpu_s
from worker.sandbox.job_clock import JobClock, in_time
from worker.sniffing.protocol import ANSWER, COMMAND, END, FORK, HEADER, MAX_ANSWER_BYTES

START_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 30.0
END_TIMEOUT_S: Final = 5.0


class Child:
    """A process that identifies the files of one organization, one file at a time."""

    def __init__(self, pid: int, channel: socket.socket, server: "Server") -> None:
        self.pid = pid
        self.channel = channel
        self.server = server
        self.files = 0
        self._rested_s = cpu_s(pid)

    async def ask(self, size: int, pieces: list[bytes], *, timeout_s: float) -> Any:
        """Send the pieces of a file that were read; return the answer, which is not checked yet.

        Raises EOFError, OSError or ValueError if the child died or its answer belongs to another
        job. Raises TimeoutError if the child took longer than `timeout_s` seconds, not counting the
        time in which it waited for a processor. The caller must end the child after any exception
        or cancellation. Call this only if `idle_fault` returns None.
        """
        # The name is random, so that an answer that was sent before the job cannot contain it.
        name = secrets.token_hex(8)
        job = json.dumps(
            {
                "job": name,
                "size": size,
                "lengths": [len(piece) for piece in pieces],
                "cpu_s": timeout_s * CPU_SHARE,
            }
        ).encode()
        header = HEADER.pack(len(job), sum(map(len, pieces)))
        loop = asyncio.get_running_loop()

        async def ask() -> Any:
            await loop.sock_sendall(self.channel, b"".join((header, job, *pieces)))
            return await self.answer()

        answer = await in_time(ask(), JobClock(self.pid, timeout_s, loop.time()))
        if not isinstance(answer, dict) or answer.get("job") != name:
            raise EOFError("the answer is to another question")
        return answer

    async def answer(self) -> Any:
        """Read one answer. The child sends its first answer before any job: whether it is `sealed`.

        Raises EOFError, OSError or ValueError if the child died or the answer is malformed.
        """
        head_bytes, body_bytes = HEADER.unpack(await _receive(self.channel, HEADER.size))
        if head_bytes > MAX_ANSWER_BYTES or body_bytes:
            raise EOFError("the answer is out of bounds")
        head = await _receive(self.channel, head_bytes)
        self._rested_s = cpu_s(self.pid)
        return json.loads(head)

    def idle_fault(self) -> str | None:
        """Return what the child did without a job, or None if it did nothing.

        `Decoder.idle_fault` explains why this is checked.
        """
        try:
            unasked = self.channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            if cpu_s(self.pid) - self._rested_s > IDLE_CPU_S:
                return "the sniffer computed without a question"
            return None
        except OSError:
            unasked = b""
        return "the sniffer wrote without a question" if unasked else "the sniffer has ended"


class Server:
    """The fork server, which is one process. It gets one command at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._one_at_a_time = asyncio.Lock()
        self._commands: set[asyncio.Task[int]] = set()
        self._in_order = True

    @property
    def lives(self) -> bool:
        """True if the server runs, and its next answer will belong to the next command."""
        return self._in_order and self._process.poll() is None

    @classmethod
    async def start(cls) -> "Server":
        """Start a server and wait until it can fork. Raises DecoderFault if it does not start."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def spawn() -> "subprocess.Popen[bytes]":
            with theirs:
                return subprocess.Popen(
                    [sys.executable, "-I", "-m", "worker.sniffing.child", str(theirs.fileno())],
                    env={},
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )

        spawning = asyncio.ensure_future(asyncio.to_thread(spawn))
        try:
            server = cls(await asyncio.shield(spawning), ours)
        except OSError as error:
            ours.close()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            ours.close()  # the thread still starts the server, which then reads EOF and ends
            spawning.add_done_callback(_wait_for_unwanted)
            raise
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await _receive(ours, ANSWER.size)
        except (TimeoutError, OSError, EOFError) as error:
            await server.stop()
            raise DecoderFault("decoder_fault") from error
        except asyncio.CancelledError:
            await server.stop()
            raise
        return server

    async def fork(self) -> Child:
        """Fork a child. Raises EOFError or OSError if the server is gone."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            return Child(await self._command(FORK, 0, theirs), ours, self)
        except BaseException:
            ours.close()  # the server may still fork the child, which then reads EOF and ends
            raise

    async def end(self, child: Child) -> int:
        """Kill a child; return its exit status.

        Raises EOFError or OSError if the server is gone.
        """
        child.channel.close()
        return await self._command(END, child.pid)

    async def _command(self, letter: bytes, pid: int, given: socket.socket | None = None) -> int:
        """Send a command and wait for its answer, in a shielded task.

        Even if the caller is cancelled, the answer must be read. Otherwise the next command would
        read it.
        """
        task = asyncio.create_task(self._carry_out(letter, pid, given))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return await asyncio.shield(task)

    async def _carry_out(self, letter: bytes, pid: int, given: socket.socket | None) -> int:
        with given or nullcontext():
            async with self._one_at_a_time:
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        # A command is so short that the socket accepts it without blocking.
                        socket.send_fds(
                            self._control,
                            [COMMAND.pack(letter, pid)],
                            [] if given is None else [given.fileno()],
                        )
                        return int(ANSWER.unpack(await _receive(self._control, ANSWER.size))[0])
                # without this, the next command could read this command's answer
                except BaseException:
                    self._in_order = False
                    raise

    async def stop(self) -> None:
        """End the server, and with it its children. May be repeated."""
        self._in_order = False
        self._control.close()
        await asyncio.to_thread(_wait, self._process)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_unwanted(spawning: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    if not spawning.cancelled() and spawning.exception() is None:
        with suppress(RuntimeError):  # fails if the loop is closed; the process then ends by itself
            asyncio.get_running_loop().run_in_executor(None, _wait, spawning.result())


async def _receive(channel: socket.socket, count: int) -> bytes:
    received = bytearray()
    loop = asyncio.get_running_loop()
    while len(received) < count:
        chunk = await loop.sock_recv(channel, count - len(received))
        if not chunk:
            raise EOFError("the other end is closed")
        received += chunk
    return bytes(received)
