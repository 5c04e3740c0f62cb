"""How a process stops without losing a request that a client has already sent.

HTTP/1.1 has no way to take back a kept connection: a request that crosses the server's FIN is lost,
and a balancer must not repeat a POST. So the order is: `/health/ready` turns 503 and every answer
says `Connection: close`; new connections end in the kernel; connections that stay idle are closed
only if nothing has arrived on them.
"""

import asyncio
import ctypes
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

HANDSHAKES_S = 0.2
"""How long handshakes that have begun may take before the listening socket is closed."""

QUEUE_S = 1.0
"""How long connections that the kernel has made may wait to be accepted."""

IDLE_S = 1.0
"""How long a kept connection may bring another request, which is answered as its last one. A pool
of a balancer that is in use asks on each of its connections within that time."""

LOOK_EVERY_S = 0.02

_SO_ATTACH_FILTER = 26
_UNACKED = slice(24, 28)
"""Where `struct tcp_info` has tcpi_unacked: of a listening socket, the length of its queue."""

# A classic BPF program over the TCP header: drop what has the flag SYN, let the rest pass.
_NO_SYN = b"".join(
    struct.pack("HBBI", *line)
    for line in (
        (0x30, 0, 0, 13),  # ldb [13]: the flags
        (0x45, 0, 1, 0x02),  # jset SYN
        (0x06, 0, 0, 0),  # ret 0
        (0x06, 0, 0, 0xFFFFFFFF),  # ret all
    )
)


class Drain:
    """Whether this process is about to stop."""

    begun = False

    def begin(self) -> None:
        """Have `/health/ready` answer 503, and every answer end its connection."""
        self.begun = True


class Connection(Protocol):
    """What is asked of a client's connection."""

    def end_if_idle(self) -> None:
        """Close it if no request is being answered and nothing of one has arrived."""


class Listening(Protocol):
    """What is asked of a server: the connections that are open."""

    @property
    def connections(self) -> Iterable[Connection]:
        """The open connections."""


def unread_bytes(transport: asyncio.BaseTransport | None) -> int:
    """Count the bytes that the kernel has received and the process has not read yet."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None:
        return 0
    with suppress(OSError, ValueError):  # closed meanwhile
        found = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", found)[0])
    return 0


async def refuse_new(listeners: Iterable[socket.socket]) -> None:
    """Let no further handshake begin, and wait until those that have begun are accepted.

    Closing a listening socket resets connections that wait to be accepted, with the requests that
    were sent on them. A client whose SYN is dropped tries again after a second and is then refused;
    a balancer may send the request elsewhere, since it has not sent it yet. Linux only; elsewhere
    nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    listening = list(listeners)
    for each in listening:
        _drop_syn(each)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(HANDSHAKES_S)
    while loop.time() - began < QUEUE_S:
        if not any(_queued(each) for each in listening):
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _drop_syn(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    # struct sock_fprog: the number of instructions and where they are
    value = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    with suppress(OSError):  # a sandbox without filters: the socket is closed as it is
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, value)


def _queued(listener: socket.socket) -> int:
    with suppress(OSError, struct.error):
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack("I", info[_UNACKED])[0])
    return 0


async def let_go(server: Listening, *, within_s: float) -> None:
    """Wait until all connections have ended, for `within_s` at most.

    For IDLE_S idle connections may still bring a request; then they are closed. What is being
    answered, or is arriving, has the rest of the time.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (passed := loop.time() - began) < within_s:
        if passed >= IDLE_S:
            for connection in list(server.connections):
                connection.end_if_idle()
        if not list(server.connections):
            return
        await asyncio.sleep(LOOK_EVERY_S)
