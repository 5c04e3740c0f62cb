"""Clients that do not read their answers are cut off.

aiohttp waits for a client to read for as long as the connection lives, and a connection that it
closes stays open until all that was written has been read. Each such connection holds a socket, up
to a page of resources in this process, and up to some megabytes in the kernel.
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
"""How long a client may leave something of its answers unread. A page of 200 resources has some
300 kB, so that a client of 15 kB a second is served."""

LOOK_EVERY_S = 2.0

NO_LINGER = struct.pack("ii", 1, 0)
"""Have the kernel drop what it has not sent and reset the connection (socket(7), SO_LINGER).
Without it the kernel keeps what was written until the client reads it."""


async def cut_off_slow_readers(server: web.Server, noise: Noise) -> None:
    """Abort connections whose write buffer has not been empty for READ_WITHIN_S; runs for ever.

    `limit_kernel` does the same for what the kernel has taken.
    """
    waiting_since: dict[asyncio.Transport, float] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = asyncio.get_running_loop().time()
        # Private in aiohttp, which keeps the transport of a connection here until it is lost, and
        # nowhere else once it has closed it.
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
    """Have the kernel end a connection whose client takes nothing for READ_WITHIN_S (Linux).

    This holds for a connection that is closed already, too. Source: tcp(7), TCP_USER_TIMEOUT.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and sys.platform == "linux":
        milliseconds = int(READ_WITHIN_S * 1000)
        with suppress(OSError):  # not a TCP connection
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _reset(transport: asyncio.Transport) -> None:
    with suppress(OSError):
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()
