"""The client of ClamAV's daemon clamd: its commands INSTREAM and PING (manual page clamd(8)).

This client uses plain sockets instead of asyncio's transports, for one reason: if a file is too
long, clamd answers and closes the connection. The next write then fails, and an asyncio transport
would drop the answer.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from shared.errors import ScannerUnavailable
from shared.plain import escape
from shared.scan_settings import ClamdAddress
from shared.verdicts import MAX_SIGNATURE, Scan

CONNECT_S: Final = 5.0
"""Time, in seconds, in which a connection must be established, including name resolution."""

CHUNK_BYTES: Final = 256 * 1024
"""Largest chunk of a stream, in bytes. A larger piece is sent as several chunks."""

ANSWER_BYTES: Final = 4096
"""Maximum number of bytes of an answer that are read. The longest part of an answer is the name of
a signature."""

TOO_LONG: Final = "INSTREAM size limit exceeded. ERROR"
"""The answer for a stream of more than StreamMaxLength bytes, which clamd does not scan."""

EXCEEDED: Final = "Heuristics.Limits.Exceeded"
"""The name of the signature that clamd reports if a file exceeds one of clamd's limits. clamd
reports it only if AlertExceedsMax is on."""

_SIZE = struct.Struct("!L")


class _ClosedEarly(Exception):
    """clamd closed the connection before the end of the stream."""


class Clamd:
    """A clamd at an address. Each command uses a new connection.

    clamd may take up to `timeout_s` seconds to accept a chunk, and up to `timeout_s` to answer.
    Every method raises ScannerUnavailable if clamd cannot be reached, is slower than that, or
    reports an error.
    """

    def __init__(self, address: ClamdAddress, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s

    async def ping(self) -> None:
        """Check that clamd answers with PONG."""
        async with self._connected() as connection:
            try:
                await self._send(connection, b"zPING\0")
            except _ClosedEarly:
                raise ScannerUnavailable("clamd closed the connection") from None
            if (answer := await self._receive(connection)) != "PONG":
                raise ScannerUnavailable(f"clamd answered {_shown(answer)}")

    async def scan(self, pieces: AsyncIterator[bytes]) -> Scan:
        """Scan a stream. At most one of its pieces is in memory.

        Returns the verdict `clean`, `infected` or `unscannable`. Unless AlertExceedsMax is on, the
        verdict is `clean` even if clamd scanned only a part because of its limits. Passes on the
        exceptions of `pieces`.
        """
        async with self._connected() as connection:
            try:
                await self._send(connection, b"zINSTREAM\0")
                async for piece in pieces:
                    for start in range(0, len(piece), CHUNK_BYTES):
                        chunk = piece[start : start + CHUNK_BYTES]
                        await self._send(connection, _SIZE.pack(len(chunk)) + chunk)
                await self._send(connection, _SIZE.pack(0))
            except _ClosedEarly:
                pass  # clamd's answer, read below, gives the reason
            return read_answer(await self._receive(connection))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[socket.socket]:
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_S):
                if address.path is not None:
                    connection = await _connect(socket.AF_UNIX, address.path)
                else:
                    connection = await _connect_to_host(address.host, address.port)
        except TimeoutError:
            raise ScannerUnavailable("clamd cannot be connected to in time") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ScannerUnavailable(f"clamd cannot be connected to: {reason}") from None
        with connection:
            yield connection

    async def _send(self, connection: socket.socket, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().sock_sendall(connection, data)
        except TimeoutError:
            raise ScannerUnavailable("clamd took no bytes in time") from None
        except OSError:
            raise _ClosedEarly from None

    async def _receive(self, connection: socket.socket) -> str:
        """Read an answer up to its zero byte; return its text."""
        loop, answer = asyncio.get_running_loop(), b""
        try:
            async with asyncio.timeout(self._timeout_s):
                while b"\0" not in answer and len(answer) < ANSWER_BYTES:
                    received = await loop.sock_recv(connection, ANSWER_BYTES)
                    if not received:
                        break
                    answer += received
        except TimeoutError:
            raise ScannerUnavailable("clamd did not answer in time") from None
        except OSError:
            raise ScannerUnavailable("clamd broke the connection") from None
        text, ended, _ = answer.partition(b"\0")
        if not ended:
            raise ScannerUnavailable("clamd closed the connection before the end of its answer")
        return text.decode("utf-8", "replace")


def read_answer(answer: str) -> Scan:
    """Return the verdict in an answer of clamd. Raises ScannerUnavailable if it is an error."""
    found = answer.removeprefix("stream: ")
    if found != answer and found == "OK":
        return Scan(verdict="clean")
    if found != answer and found.endswith(" FOUND"):
        signature = escape(found.removesuffix(" FOUND"))[:MAX_SIGNATURE]
        exceeded = signature.startswith(EXCEEDED)
        return Scan(verdict="unscannable" if exceeded else "infected", signature=signature)
    if answer == TOO_LONG:
        return Scan(verdict="unscannable")
    raise ScannerUnavailable(f"clamd answered {_shown(answer)}")


def _shown(answer: str) -> str:
    return f'"{escape(answer)[:100]}"'


async def _connect_to_host(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that accepts the connection."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    fault: OSError = OSError("the name has no address")
    for family, _, _, _, address in found:
        try:
            return await _connect(family, address)
        except OSError as error:
            fault = error
    raise fault


async def _connect(family: int, address: tuple[Any, ...] | str) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
