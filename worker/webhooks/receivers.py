"""Connect to receivers only at addresses that are allowed, so that no request can be forged.

A receiver's name is resolved once for each connection. Each address is checked before a socket is
made for it, and the connection goes to that very address. The name stays in use for TLS.
"""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.errors import AttachmentsError
from shared.proxies import Network

# The prefixes under which an IPv4 address is reached through IPv6.
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""RFC 6052 and RFC 8215. A translator in the network may lead them to any IPv4 address."""

COMPATIBLE = IPv6Network("::/96")
"""IPv4-compatible addresses (RFC 4291, deprecated)."""


class AddressRefused(AttachmentsError):
    """The receiver's address is not a public one, and no setting allows it."""


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Return whether a connection to an address may be made.

    Allowed are addresses that are reachable from the whole internet, and those in `networks`. An
    IPv4 address inside an IPv6 address (mapped, NAT64, 6to4, Teredo) is refused in every case,
    unless `networks` has it: a receiver has no need of such an address.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        # The system connects to the IPv4 address, so that one counts.
        return any(parsed.ipv4_mapped in network for network in networks)
    if any(parsed.version == network.version and parsed in network for network in networks):
        return True
    return _is_public(parsed)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # `is_global` is false for private, shared, loopback, link-local, documentation and reserved
    # addresses. Multicast is partly global, so it is checked as well.
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address):
        if address.is_site_local or address.sixtofour is not None or address.teredo is not None:
            return False
        return not any(address in network for network in (*NAT64, COMPATIBLE))
    return True


class Resolver(AbstractResolver):
    """Resolves the names of receivers by the system, and returns only allowed addresses."""

    def __init__(self, networks: Sequence[Network], inner: AbstractResolver | None = None) -> None:
        """`inner` resolves names; the default is the system's resolver, in a thread."""
        self._networks = networks
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name. Raises AddressRefused if it has addresses, and none is allowed."""
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
    """Make the connector of a courier, for up to `limit` connections at one time."""

    def make_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        # Addresses that are written in the URL pass no resolver, so each one is checked here.
        family, kind, protocol, _, place = address
        if not is_allowed(str(place[0]), networks):
            raise AddressRefused("the receiver's address is not public")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return aiohttp.TCPConnector(
        resolver=Resolver(networks, inner),
        socket_factory=make_socket,
        use_dns_cache=False,
        limit=limit,
        keepalive_timeout=15,
    )
