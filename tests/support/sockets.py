"""The listening sockets of processes, and their answers to a caller without credentials."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

ACCEPTS = 0x10000
"""The flag __SO_ACCEPTCON in /proc/net/unix, which marks a listening socket."""
WAIT_S = 5.0
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The HTTP/2 preface and an empty SETTINGS frame: the first bytes of a gRPC client without TLS."""


def listening_ports(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Return the address and port of each socket that accepts TCP connections or can receive UDP
    packets.
    """
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for each in process.net_connections("inet"):
                is_udp = each.type == socket.SOCK_DGRAM and not each.raddr
                if each.status == psutil.CONN_LISTEN or is_udp:
                    found.add((each.laddr.ip, each.laddr.port))
    return found


def listening_paths(processes: list[psutil.Process]) -> set[Path]:
    """Return the absolute paths of listening Unix sockets (Linux only).

    A path that begins with "@" is an abstract socket.
    """
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            paths = _paths_by_inode(process.pid)
            held = (Path(f"/proc/{process.pid}/fd") / name for name in _names(process.pid))
            for path in filter(None, (paths.get(_inode(each)) for each in held)):
                found.add(path if path.startswith("@") else Path(process.cwd()) / path)
    return {Path(path) for path in found}


def _names(pid: int) -> Iterator[str]:
    return (each.name for each in Path(f"/proc/{pid}/fd").iterdir())


def _inode(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]")
    except OSError:
        return ""


def _paths_by_inode(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    rows = (line.split(maxsplit=7) for line in lines)
    return {row[6]: row[7] for row in rows if len(row) == 8 and int(row[3], 16) & ACCEPTS}


def ask(port: int, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send bytes to a loopback port, and return all bytes until the server closes the connection.

    If the server resets the connection, the function returns the bytes until then. Raises
    TimeoutError if the server keeps the connection open without an answer, and ssl.SSLError if the
    server refuses TLS.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as plain:
        connection = plain if tls is None else tls.wrap_socket(plain)
        try:
            connection.sendall(request)
            while received := connection.recv(65_536):
                answer += received
        except (ConnectionResetError, BrokenPipeError):
            pass
        finally:
            connection.close()
    return answer
