"""Listen on an address (`::` serves IPv6 and IPv4), and find the host that reaches it locally."""

import os
import socket
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"

SERVER = "attachments"
"""The `Server` header of every answer: aiohttp's own names aiohttp and Python with versions."""


def is_everywhere(host: str) -> bool:
    """Return whether an address to listen on means all addresses of this machine, in any form."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def reached_at(host: str) -> str:
    """Return the host for a URL that reaches, on this machine, a server that listens on `host`."""
    if is_everywhere(host):
        return LOOPBACK  # `::` serves IPv4 too, see `listen_everywhere`
    return f"[{host}]" if ":" in host else host


def fault_of(error: OSError | UnicodeError) -> str:
    """Return in a few words why a process cannot listen on an address.

    asyncio's own message repeats the address. A UnicodeError means that the text cannot be the name
    of a host.
    """
    if isinstance(error, UnicodeError):
        return "not a host name"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    return os.strerror(error.errno) if error.errno else str(error)


def listen_everywhere(host: str, port: int, backlog: int = 128) -> socket.socket | None:
    """Listen on IPv6 and IPv4 with one socket if the host is `::`; None for any other host.

    With asyncio alone, `::` serves only IPv6, and health checks by IPv4 fail. Raises OSError.
    """
    if not is_everywhere(host) or ":" not in host:
        return None
    dual = socket.has_dualstack_ipv6()
    listening = socket.create_server(
        (host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=dual
    )
    listening.setblocking(False)
    return listening
