"""Find the address of a request's client. No other module does this.

Usually it is the address of the other end of the connection. If a trusted proxy made the
connection, it is the address that the proxy reports. `X-Forwarded-For` from others is ignored,
because any client can send that header.
"""

import asyncio
import functools
import ipaddress
from typing import Any

from aiohttp import web

from shared.proxies import Forwarded, Proxies, plain_address

PROXIES = web.RequestKey("proxies", Proxies)
"""The key of the trusted proxies in a request. It is missing if no proxy is trusted."""

UNKNOWN = "unknown"


def client_address(request: web.BaseRequest) -> str:
    """Return the client's address, or `unknown`."""
    return forwarded(request).address


def forwarded(request: web.BaseRequest) -> Forwarded:
    """Return the client's address, and the scheme and host that a trusted proxy reports."""
    proxies: Proxies | None = request.get(PROXIES)
    if proxies is None:
        return _direct(request.remote)
    return proxies.read(_plain(request.remote), request.headers)


def peer_address(transport: asyncio.BaseTransport | None) -> str:
    """Return the address of the other end of a connection, or `unknown`."""
    peer: Any = None if transport is None else transport.get_extra_info("peername")
    return _plain(peer[0] if isinstance(peer, tuple) else peer)


# Cached, because most requests come from a few addresses.
@functools.lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """Return the source of an address: an IPv4 address, or the /64 network of an IPv6 address.

    An IPv6 client can usually choose its address in a whole /64 network (RFC 6177). Returns
    `unknown` for a text that is not an address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


@functools.lru_cache(maxsize=4096)
def _direct(peer: str | None) -> Forwarded:
    return Forwarded(address=_plain(peer))


@functools.lru_cache(maxsize=4096)
def _plain(address: str | None) -> str:
    return plain_address(address or "") or UNKNOWN
