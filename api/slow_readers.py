"""Close the connections of clients that do not read their answers.

aiohttp has no timeout for such clients. Even if aiohttp closes the connection, it stays open until
the client has read everything that was written. Each such connection holds a socket, up to a page
of resources in the memory of this process, and up to some megabytes in the kernel.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from api.clients import peer_address
from api.noise import Noise

READ_WITHIN_S = 20.0
"""Time, in seconds, for which a client may leave data unread. A page of 200 resources has about 300
kB, so a client that reads 15 kB per second is still served."""

LOOK_EVERY_S = 2.0

NO_LINGER = struct.pack("ii", 1, 0)
"""A value of SO_LINGER (socket(7)). With it, closing a connection resets it, and the kernel
discards unsent data. Without it, the kernel keeps the data until the client reads them."""


async def cut_off_slow_readers(server: web.Server, noise: Noise) -> None:
    """Abort connections whose write buffer was never empty for READ_WITHIN_S. Runs until cancelled.

    The buffer is in this process. For data that is already in the kernel, use `limit_kernel`.
    """
    waiting_since: dict[asyncio.Transport, float] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = asyncio.get_running_loop().time()
        # `_connections` is private in aiohttp. Nothing else gives access to the transport of a
        # connection that aiohttp has closed, but that still has data to send.
        connections: Mapping[Any, asyncio.Transport] = server._connections
        unread = {
            transport: waiting_since.get(transport, now)
            for transport in list(connections.values())
            if transport.get_write_buffer_size() > 0
        }
        late = [each for each, since in unread.items() if now - since >= READ_WITHIN_S]
        for transport in late:
            del unread[transport]
            noise.refused(
                "client cut off",
                peer_address(transport),
                metric="slow_reader",
                reason="it does not read its answers",
            )
            _reset(transport)
        waiting_since = unread


def limit_kernel(transport: asyncio.BaseTransport) -> None:
    """Let the kernel end a connection whose client accepts no data for READ_WITHIN_S (Linux).

    This applies also after aiohttp has closed the connection. Source: tcp(7), TCP_USER_TIMEOUT.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and sys.platform == "linux":
        milliseconds = int(READ_WITHIN_S * 1000)
        with suppress(OSError):  # this fails if it is not a TCP socket
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _reset(transport: asyncio.Transport) -> None:
    with suppress(OSError):
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()
