"""Ports of the loopback interface: which are free, and which a server keeps."""

import random
import socket
from collections.abc import Collection, Mapping

HOST = "127.0.0.1"
PORTS: range = range(12_000, 22_000)
"""Below what systems hand out to outgoing connections, so that a port is free after a restart."""
PARTNER = 10_000
"""SeaweedFS looks for one of its ports that much above another: both must be free."""

_given: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        # As servers do: a port that was in use a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port() -> int:
    """Choose a free port whose partner is free as well; never the same twice in one process."""
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
    """Give each name a port of its own; those of `kept` stay as long as they are free.

    None of `reserved` is given.
    """
    chosen: dict[str, int] = {}
    for name in names:
        port = (kept or {}).get(name, 0)
        while not port or port in {*chosen.values(), *reserved} or not is_free(port):
            port = choose_port()
        chosen[name] = port
    return chosen
