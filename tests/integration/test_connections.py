"""Slow or broken connections: one client does not delay other clients."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from api import slow_readers
from tests.support.service import MEDIA_TYPE, Service, until

ROWS = 120
READERS = 20
PIPELINED = 10


@asynccontextmanager
async def connection(
    service: Service,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to the API in the block."""
    url = urlsplit(service.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(service: Service, method: str, path: str, *headers: str, known: bool = True) -> bytes:
    """Return the head of an HTTP request, with the client's token if `known` is true."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(service.base_url).netloc}", *headers]
    if known:
        client = service.client
        lines += [
            f"X-Auth-Token: {client.token}",
            f"X-Organization-Id: {client.organization_id}",
        ]
    return "\r\n".join([*lines, "", ""]).encode()


def created_in_chunks(service: Service, *trailer: str, known: bool = True) -> bytes:
    """Return a create request with a chunked body and trailer fields."""
    attributes = {"name": "img.png"}
    body = json.dumps({"data": {"type": "attachments", "attributes": attributes}}).encode()
    head = request(
        service,
        "POST",
        "/api/v2/attachments",
        f"Content-Type: {MEDIA_TYPE}",
        "Transfer-Encoding: chunked",
        known=known,
    )
    end = "\r\n".join(["0", *trailer, "", ""]).encode()
    return head + b"%x\r\n%s\r\n" % (len(body), body) + end


@pytest.mark.parametrize("known", [True, False], ids=["taken", "refused"])
@pytest.mark.parametrize("apart", [True, False], ids=["apart", "pipelined"])
@pytest.mark.parametrize("with_trailer", [True, False], ids=["trailer", "no-trailer"])
async def test_a_trailer_never_becomes_a_header_of_the_next_request(
    service: Service, known: bool, apart: bool, with_trailer: bool
) -> None:
    credentials = [
        f"X-Auth-Token: {service.client.token}",
        f"X-Organization-Id: {service.client.organization_id}",
    ]
    first = created_in_chunks(service, *(credentials if with_trailer else []), known=known)
    second = request(service, "GET", "/api/v2/attachments", known=False)
    async with connection(service) as (reader, writer), asyncio.timeout(10):
        writer.write(first if apart else first + second)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 " if known else b"HTTP/1.1 401 ")
        assert b"connection: close" in head.lower()
        if apart:
            with suppress(ConnectionError):
                writer.write(second)
        rest = b""
        with suppress(ConnectionError):
            rest = await reader.read()
    assert b"HTTP/1.1" not in rest


async def test_a_body_with_a_length_keeps_its_connection(service: Service) -> None:
    body = b'{"data":{"type":"attachments","attributes":{"name":"img.png"}}}'
    head = request(
        service,
        "POST",
        "/api/v2/attachments",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
    )
    async with connection(service) as (reader, writer), asyncio.timeout(10):
        writer.write((head + body) * 2)
        for _ in range(2):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 201 ")
            assert b"connection: close" not in answer.lower()
            length = next(
                line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            await reader.readexactly(int(length.partition(b":")[2]))


async def test_clients_that_do_not_read_are_cut_off(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_readers, "READ_WITHIN_S", 1.0)
    monkeypatch.setattr(slow_readers, "LOOK_EVERY_S", 0.1)
    attributes = {"name": f"{'long' * 60}.png"}
    item = {"type": "attachments", "attributes": attributes}
    for _ in range(2):
        answer = await service.client.request(
            "POST",
            "/api/v2/attachments",
            {"data": [item] * (ROWS // 2)},
            headers={
                "Content-Type": f"{MEDIA_TYPE}; ext=bulk",
                "Accept": f"{MEDIA_TYPE}; ext=bulk",
            },
        )
        assert answer.status == 201
    url = urlsplit(service.base_url)
    asked = request(service, "GET", "/api/v2/attachments?page[size]=200") * PIPELINED
    clients = []
    for _ in range(READERS):
        client = socket.socket()
        # With this small buffer, the kernel receives only a small part of an answer.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        clients.append(client)
    loop = asyncio.get_running_loop()
    try:
        for client in clients:
            await loop.sock_connect(client, (url.hostname, url.port))
            await loop.sock_sendall(client, asked)

        async def all_are_cut_off() -> bool:
            return not _server_sides(url.port, ports)

        ports = {client.getsockname()[1] for client in clients}
        assert _server_sides(url.port, ports)
        await until(all_are_cut_off, within_s=60)
    finally:
        for client in clients:
            client.close()
    assert len((await service.client.request("GET", "/api/v2/attachments")).data) == 30


def _server_sides(port: int | None, clients: set[int]) -> int:
    """Count the API's sockets for these clients, also those that it has closed.

    The kernel may keep a socket after it was closed.
    """
    return sum(
        bool(each.raddr) and each.laddr.port == port and each.raddr.port in clients
        for each in psutil.net_connections("tcp")
    )


UNREADABLE = {
    "no request": b"\0",
    "a line too long": b"GET /",
    "a header too long": b"GET / HTTP/1.1\r\nA: ",
    "a chunk's size": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "behind CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "behind an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("beginning", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("port", ["api", "metrics"])
async def test_nothing_is_kept_of_an_unparsable_message(
    service: Service, beginning: bytes, port: str
) -> None:
    url = URL(service.base_url if port == "api" else service.metrics_url)
    gc.collect()
    gc.disable()  # the collector could free the objects that are counted below
    try:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(beginning + b"x" * 200_000)
        answer = b""
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                answer += piece
        writer.close()
        assert answer.startswith(b"HTTP/1."), answer
        kept = [
            each
            for each in gc.get_objects()
            if isinstance(each, HttpProcessingError) and each.__traceback__ is not None
        ]
    finally:
        gc.enable()
    assert kept == []
