"""The ports of a local stack, by name."""

from deploy.embedded.ports import PARTNER
from deploy.local.data_dir import read_kept
from tests.support.sockets import listening_ports
from tests.support.up import Up

SEALED = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
"""Ports of SeaweedFS that require mutual TLS: a caller without a certificate is refused."""


def ports_of(up: Up) -> dict[int, str]:
    kept = read_kept(up.data_dir).ports
    named = {**kept, "admin.port.grpc": kept["admin.port"] + PARTNER}
    return {port: name for name, port in named.items()}


def names(up: Up) -> set[str]:
    named = ports_of(up)
    return {named.get(port, f"{address}:{port}") for address, port in listening_ports(up.tree())}


def port_of(up: Up, name: str) -> int:
    return next(port for port, each in ports_of(up).items() if each == name)
