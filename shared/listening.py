"""Listen on an address, where `::` means IPv6 and IPv4; find the host for local requests."""

import os
import resource
import socket
from contextlib import suppress
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"

SERVER = "attachments"
"""The `Server` header of every answer. aiohttp's own header names the versions of aiohttp and
Python."""

MAX_DESCRIPTORS = 65_536
"""Maximum number of descriptors of a process that clients connect to. One address has fewer ports,
so a client with one address cannot open as many connections."""


def allow_connections() -> None:
    """Raise this process's soft limit of open descriptors to MAX_DESCRIPTORS or the hard limit.

    The soft limit of Linux is 1,024 for most processes. Then so many idle connections of one client
    would prevent all others from connecting. If the system does not allow it, nothing changes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_everywhere(host: str) -> bool:
    """Return whether a server on `host` listens on all of this machine's addresses.

    These hosts are `::` and `0.0.0.0`.
    """
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def reached_at(host: str) -> str:
    """Return the host for URLs with which this machine reaches a server that listens on `host`."""
    if is_everywhere(host):
        return LOOPBACK  # `::` serves IPv4 too, see `listen_everywhere`
    return f"[{host}]" if ":" in host else host


def fault_of(error: OSError | UnicodeError) -> str:
    """Return a few words about why a process cannot listen on an address.

    asyncio's own message is not used, because it repeats the address. asyncio raises UnicodeError
    if the text cannot be a host name.
    """
    if isinstance(error, UnicodeError):
        return "not a host name"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    return os.strerror(error.errno) if error.errno else str(error)


def listen_everywhere(host: str, port: int, backlog: int = 128) -> socket.socket | None:
    """Return one socket that listens on IPv6 and IPv4 if `host` is `::`; None for other hosts.

    asyncio alone serves only IPv6 for `::`, so health checks by IPv4 would fail. Raises OSError if
    the port is in use.
    """
    if not is_everywhere(host) or ":" not in host:
        return None
    dual = socket.has_dualstack_ipv6()
    listening = socket.create_server(
        (host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=dual
    )
    listening.setblocking(False)
    return listening
