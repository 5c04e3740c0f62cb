"""Stop a process without losing a request that a client has already sent.

In HTTP/1.1, a server cannot announce that it closes an idle connection. If a client sends a request
at the same moment, the request is lost, and a load balancer must not repeat a POST. So the process
stops in this order: (1) `/health/ready` answers 503, and every answer has `Connection: close`; (2)
the kernel drops new connections; (3) an idle connection is closed only if no unread bytes have
arrived on it.
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
"""Time, in seconds, in which handshakes that have begun may finish before the listening socket is
closed."""

QUEUE_S = 1.0
"""Maximum time, in seconds, to wait until the connections in the kernel's queue are accepted."""

IDLE_S = 1.0
"""Time, in seconds, for which idle connections stay open, so that each may send a last request. A
busy load balancer uses each connection of its pool within this time.
"""

LOOK_EVERY_S = 0.02

_SO_ATTACH_FILTER = 26
_UNACKED = slice(24, 28)
"""The position of the field tcpi_unacked in `struct tcp_info`, in bytes. For a listening socket,
this field is the number of connections that wait to be accepted."""

# A classic BPF program that drops TCP segments with the flag SYN and passes all others.
_NO_SYN = b"".join(
    struct.pack("HBBI", *line)
    for line in (
        (0x30, 0, 0, 13),  # ldb [13]: load the byte with the TCP flags
        (0x45, 0, 1, 0x02),  # jset SYN: skip the next line if the flag is not set
        (0x06, 0, 0, 0),  # ret 0: drop
        (0x06, 0, 0, 0xFFFFFFFF),  # ret all: pass
    )
)


class Drain:
    """Records whether this process has begun to stop."""

    begun = False

    def begin(self) -> None:
        """Make `/health/ready` answer 503, and every answer close its connection."""
        self.begun = True


class Connection(Protocol):
    """The part of a client's connection that `let_go` uses."""

    def end_if_idle(self) -> None:
        """Close the connection, unless a request is being answered or has begun to arrive."""


class Listening(Protocol):
    """The part of a server that `let_go` uses."""

    @property
    def connections(self) -> Iterable[Connection]:
        """The open connections."""


def unread_bytes(transport: asyncio.BaseTransport | None) -> int:
    """Return how many bytes the kernel has received that the process has not read yet."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None:
        return 0
    with suppress(OSError, ValueError):  # fails if the connection is already closed
        found = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", found)[0])
    return 0


async def refuse_new(listeners: Iterable[socket.socket]) -> None:
    """Drop new handshakes, and wait until connections that already exist are accepted.

    Without this, closing the listening socket would reset the connections that wait to be accepted,
    and their requests would be lost. A client whose SYN is dropped tries again after a second, and
    then its connection is refused. This client has sent no request yet, so a load balancer may send
    the request to another process. On systems other than Linux, this returns immediately.
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
    # struct sock_fprog: the number of instructions, and a pointer to them
    value = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    # A sandbox may forbid filters. The socket is then closed without a filter.
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, value)


def _queued(listener: socket.socket) -> int:
    with suppress(OSError, struct.error):
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack("I", info[_UNACKED])[0])
    return 0


async def let_go(server: Listening, *, within_s: float) -> None:
    """Wait until all connections have ended, at most `within_s` seconds.

    In the first IDLE_S seconds, idle connections may still send a request. After that, idle
    connections are closed. Requests that are arriving or being answered may take all `within_s`
    seconds.
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
