"""Choose free ports on the loopback interface."""

import random
import socket
from collections.abc import Collection, Mapping

HOST = "127.0.0.1"
PORTS: range = range(12_000, 22_000)
"""The range of chosen ports. All of them are below the ports that systems use for outgoing
connections. So no outgoing connection takes the port of a server that is being restarted.
"""
PARTNER = 10_000
"""Some servers of SeaweedFS listen on two ports. The second is the first plus this number, so both
must be free.
"""

_given: set[int] = set()


def is_free(port: int) -> bool:
    """Return True if a server could listen on a port now."""
    with socket.socket() as bound:
        # Servers use SO_REUSEADDR too. With it, a port whose connections were just closed is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port() -> int:
    """Return a free port. Its partner port, which is higher by PARTNER, is free too.

    In one process, the function never returns the same port twice.
    """
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        if port not in _given and is_free(port) and is_free(port + PARTNER):
            _given.add(port)
            return port


def choose_ports(
    names: tuple[str, ...],
    kept: Mapping[str, int] | None = None,
    reserved: Collection[int] = (),
) -> dict[str, int]:
    """Return a different port for each name. A port in `kept` is used again if it is free.

    Ports in `reserved` are never chosen.
    """
    chosen: dict[str, int] = {}
    for name in names:
        port = (kept or {}).get(name, 0)
        while not port or port in {*chosen.values(), *reserved} or not is_free(port):
            port = choose_port()
        chosen[name] = port
    return chosen
