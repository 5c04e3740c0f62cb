"""Where a request comes from: the one place that decides it.

It is the peer's address of the connection, unless the peer is a trusted proxy: then it is the
address that the proxy reports. Any client can send `X-Forwarded-For`, so nobody else is believed.
"""

import asyncio
import functools
import ipaddress
from typing import Any

from aiohttp import web

from shared.proxies import Forwarded, Proxies, plain_address

PROXIES = web.RequestKey("proxies", Proxies)
"""Carried by a request whose peer may be a trusted proxy; no request does if none is trusted."""

UNKNOWN = "unknown"


def client_address(request: web.BaseRequest) -> str:
    """Give the client's address, or `unknown`."""
    return forwarded(request).address


def forwarded(request: web.BaseRequest) -> Forwarded:
    """Give the client's address, and the scheme and host that a trusted proxy reports."""
    peer = _plain(request.remote)
    proxies = request.get(PROXIES)
    return Forwarded(address=peer) if proxies is None else proxies.read(peer, request.headers)


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
    return plain_address(address or "") or UNKNOWN
