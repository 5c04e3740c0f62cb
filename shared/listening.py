"""Listening: `::` serves both families, and how an address is reached from its own machine."""

import os
import socket
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"

SERVER = "attachments"
"""The `Server` header of every answer: aiohttp would name itself and Python, with versions."""


def is_everywhere(host: str) -> bool:
    """Whether an address to listen on stands for all of this machine, in whatever spelling."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def reached_at(host: str) -> str:
    """Give what a URL names, on this machine, to reach who listens on an address."""
    if is_everywhere(host):
        return LOOPBACK  # `::` serves IPv4 as well, see `listen_everywhere`
    return f"[{host}]" if ":" in host else host


def fault_of(error: OSError | UnicodeError) -> str:
    """Say in a few words why an address cannot be listened on; asyncio would repeat the address.

    A UnicodeError is raised for a text that cannot be the name of a host.
    """
    if isinstance(error, UnicodeError):
        return "no name of a host"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    return os.strerror(error.errno) if error.errno else str(error)


def listen_everywhere(host: str, port: int, backlog: int = 128) -> socket.socket | None:
    """Listen on IPv6 and IPv4 with one socket where the host is `::`; None for any other host.

    asyncio would have `::` serve IPv6 alone, so that checks by IPv4 fail. Raises OSError.
    """
    if not is_everywhere(host) or ":" not in host:
        return None
    dual = socket.has_dualstack_ipv6()
    listening = socket.create_server(
        (host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=dual
    )
    listening.setblocking(False)
    return listening
