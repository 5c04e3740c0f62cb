"""Connect to webhook receivers only at allowed addresses, to prevent server-side request forgery.

A receiver's name is resolved once for each connection; connections that are made at the same time
may share a look-up (`worker.webhooks.lookups`). Each address is checked before a socket is made for
it, and the connection goes to exactly that address. TLS still checks the receiver's name.
"""

import socket
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.errors import AttachmentsError
from shared.proxies import Network
from shared.webhooks.destinations import is_allowed
from worker.webhooks.lookups import Lookups

RECEIVE_BUFFER: Final = 8192
"""Size of the system's receive buffer of a connection, in bytes.

One read of the event loop takes everything that has arrived. Without this limit, the sender would
read about 100 kB of a long answer although it needs only 4 KiB. Linux doubles the value for its own
bookkeeping.
"""


class AddressRefused(AttachmentsError):
    """The receiver's URL is not https, or its address is not public, and no setting allows that."""


class Resolver(AbstractResolver):
    """Resolves names of receivers with the system's resolver. Returns only allowed addresses."""

    def __init__(self, networks: Sequence[Network], inner: AbstractResolver | None = None) -> None:
        """`inner` resolves names. The default is the system's resolver, in threads of its own."""
        self._networks = networks
        self._inner = inner or Lookups()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises AddressRefused if the name has addresses, but none of them is allowed.
        """
        found = await self._inner.resolve(host, port, family)
        allowed = [each for each in found if is_allowed(each["host"], self._networks)]
        if found and not allowed:
            raise AddressRefused("the receiver's name leads to no public address")
        return allowed

    async def close(self) -> None:
        """Close the resolver."""
        await self._inner.close()


def make_connector(
    networks: Sequence[Network], *, limit: int, inner: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """Make the HTTP connector of a courier, for up to `limit` connections at one time."""

    def make_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        # An address that is written in the URL does not pass the resolver, so check each address
        # here.
        family, kind, protocol, _, sockaddr = address
        if not is_allowed(str(sockaddr[0]), networks):
            raise AddressRefused("the receiver's address is not public")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return made

    return aiohttp.TCPConnector(
        resolver=Resolver(networks, inner),
        socket_factory=make_socket,
        use_dns_cache=False,
        limit=limit,
        keepalive_timeout=15,
    )
