"""Where a request comes from: the one place that decides it.

It is the peer's address of the connection. `X-Forwarded-For` is not trusted: any client can send
it. Behind a proxy all clients therefore have the proxy's address.
"""

import asyncio
import functools
import ipaddress
from typing import Any

from aiohttp import web

UNKNOWN = "unknown"


def client_address(request: web.BaseRequest) -> str:
    """Give the client's address, or `unknown`."""
    return _plain(request.remote)


def peer_address(transport: asyncio.BaseTransport | None) -> str:
    """Give the address of the other end of a connection, or `unknown`."""
    peer: Any = None if transport is None else transport.get_extra_info("peername")
    return _plain(peer[0] if isinstance(peer, tuple) else peer)


@functools.lru_cache(maxsize=4096)  # most requests come from the same few
def source_of(address: str) -> str:
    """Give what is counted as one source: an IPv4 address, or the /64 of an IPv6 address.

    A client of IPv6 usually has a whole /64 to choose its addresses from (RFC 6177).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


@functools.lru_cache(maxsize=4096)
def _plain(address: str | None) -> str:
    """Write an address in one way: without a zone, and IPv4 as IPv4 on a socket that takes both."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
