"""The end of connections and of API processes: no request that was sent is lost."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Protocol

import pytest
import pytest_asyncio

from tests.support.faults import changed
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.starting import Launch

pytestmark = pytest.mark.fault

LIVE = b"GET /health/live HTTP/1.1\r\nHost: attachments\r\n\r\n"
READY = b"GET /health/ready HTTP/1.1\r\nHost: attachments\r\n\r\n"
CONNECTIONS = 40

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SHORT_HEADS = """
import api.connection
api.connection.HEAD_TIMEOUT_S = 3.0
"""

BUSY = """
import sys
import time
import api.app
plain = api.app.health_live
async def busy(request):
    if request.query_string:
        print("busy", file=sys.stderr, flush=True)
        time.sleep(2)
    return await plain(request)
api.app.health_live = busy
"""
"""The program of an API in which a request with a query blocks the process for two seconds."""


@pytest_asyncio.fixture
async def api(service: Service, launch: Launch) -> ApiProcess:
    """Start an API process with the default settings."""
    return await launch(ApiProcess(service.environment))


class Connect(Protocol):
    """A function that opens a connection to an API process."""

    def __call__(self, api: ApiProcess) -> Awaitable[Wire]: ...


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that opens connections. They are closed at the end of the test."""
    opened: list[Wire] = []

    async def connect(api: ApiProcess) -> Wire:
        port = int(api.url.rpartition(":")[2])
        opened.append(await asyncio.open_connection("127.0.0.1", port))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest_asyncio.fixture
async def wires(api: ApiProcess, connect: Connect) -> list[Wire]:
    """Open keep-alive connections; each of them has already received one answer."""
    opened = [await connect(api) for _ in range(CONNECTIONS)]
    for wire in opened:
        assert (await ask(wire, LIVE))[0] == 200
    return opened


async def answer(wire: Wire) -> tuple[int, str]:
    """Read one answer, and return its status and head. Fail if the connection ends too early."""
    async with asyncio.timeout(20):
        head = (await wire[0].readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)^content-length: *(\d+)\r$", head, re.MULTILINE)
        await wire[0].readexactly(int(length[1]) if length else 0)
    return int(head.split()[1]), head.lower()


async def ask(wire: Wire, request: bytes) -> tuple[int, str]:
    """Send a request; return the status and the head of its answer."""
    wire[1].write(request)
    return await answer(wire)


def create(service: Service) -> bytes:
    """Return the bytes of a create request. A proxy must not send such a request twice."""
    body = b'{"data":{"type":"attachments","attributes":{"name":"a.png"}}}'
    head = (
        "POST /api/v2/attachments HTTP/1.1\r\nHost: attachments\r\n"
        f"X-Auth-Token: {service.client.token}\r\n"
        f"X-Organization-Id: {service.client.organization_id}\r\n"
        f"Content-Type: application/vnd.api+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize("kept", [True, False], ids=["kept connections", "fresh connections"])
async def test_requests_that_were_sent_before_the_end_are_answered(
    service: Service, api: ApiProcess, wires: list[Wire], connect: Connect, kept: bool
) -> None:
    # While the process is suspended, all the requests and the signal arrive.
    os.kill(api.pid, signal.SIGSTOP)
    if not kept:
        # The kernel accepts these connections, although the process is suspended.
        wires = [await connect(api) for _ in range(CONNECTIONS)]
    request = create(service)
    for _, writer in wires:
        writer.write(request)
    os.kill(api.pid, signal.SIGTERM)
    os.kill(api.pid, signal.SIGCONT)

    for wire in wires:
        status, head = await answer(wire)
        assert status == 201
        assert "\r\nconnection: close\r\n" in head
        assert await wire[0].read() == b""
    assert await api.stop() == 0


async def test_a_request_soon_after_the_signal_is_the_connections_last(
    api: ApiProcess, wires: list[Wire]
) -> None:
    os.kill(api.pid, signal.SIGTERM)
    await until(lambda: asyncio.sleep(0, '"stops"' in api.log() or "stops" in api.log()))

    for wire in wires[:10]:
        status, head = await ask(wire, LIVE)
        assert status == 200
        assert "\r\nconnection: close\r\n" in head
    for wire in wires[10:]:  # no request has arrived on these connections
        assert await wire[0].read() == b""
    assert await api.stop() == 0


async def test_a_request_that_is_still_arriving_at_the_signal_is_answered(
    service: Service, api: ApiProcess, wires: list[Wire]
) -> None:
    request = create(service)
    places = (1, 20, request.index(b"\r\n\r\n") + 2, len(request) - 1)
    late = list(zip(wires, places, strict=False))
    for (_, writer), place in late:
        writer.write(request[:place])
    await asyncio.sleep(0.3)
    os.kill(api.pid, signal.SIGTERM)
    for wire in wires[len(late) :]:  # the API closes idle connections
        assert await wire[0].read() == b""
    for (_, writer), place in late:
        writer.write(request[place:])

    for wire, _ in late:
        status, head = await answer(wire)
        assert status == 201
        assert "\r\nconnection: close\r\n" in head
    assert await api.stop() == 0


async def test_while_it_drains_ready_is_503_and_new_connections_are_served(
    service: Service, launch: Launch, connect: Connect
) -> None:
    api = await launch(ApiProcess(service.environment, drain="3"))
    kept = await connect(api)
    assert (await ask(kept, READY))[0] == 200
    os.kill(api.pid, signal.SIGTERM)
    await until(lambda: asyncio.sleep(0, "stops" in api.log()))

    assert (await ask(kept, READY))[0] == 503
    for request, expected in ((READY, 503), (LIVE, 200), (create(service), 201)):
        wire = await connect(api)
        status, head = await ask(wire, request)
        assert status == expected
        assert "\r\nconnection: close\r\n" in head

    async def refused() -> bool:
        try:
            await connect(api)
        except OSError:
            return True
        return False

    await until(refused, every_s=0.2)
    assert await api.stop() == 0


async def test_idle_connections_end_at_the_keep_alive(
    service: Service, launch: Launch, connect: Connect
) -> None:
    api = await launch(ApiProcess(service.environment, keep_alive="1"))
    wires = [await connect(api) for _ in range(3)]
    for wire in wires:
        status, head = await ask(wire, LIVE)
        assert (status, "connection: close" in head) == (200, False)
    for wire in wires:
        assert await wire[0].read() == b""


async def test_a_request_that_came_in_time_is_answered_however_late_it_is_read(
    service: Service, launch: Launch, connect: Connect
) -> None:
    api = await launch(
        ApiProcess(service.environment, program=changed(BUSY, "api"), keep_alive="1")
    )
    kept, another = [await connect(api) for _ in range(2)]
    assert (await ask(kept, LIVE))[0] == 200
    another[1].write(LIVE.replace(b"/live", b"/live?busy"))
    await until(lambda: asyncio.sleep(0, "busy" in api.log()))
    kept[1].write(create(service))

    assert (await answer(kept))[0] == 201
    assert (await answer(another))[0] == 200


async def test_a_head_that_has_begun_outlives_the_keep_alive_but_has_an_end(
    service: Service, launch: Launch, connect: Connect
) -> None:
    program = changed(SHORT_HEADS, "api")
    api = await launch(ApiProcess(service.environment, program=program, keep_alive="1"))
    honest, slow, blank = [await connect(api) for _ in range(3)]
    for wire in (honest, slow, blank):
        assert (await ask(wire, LIVE))[0] == 200
    for _, writer in (honest, slow):
        writer.write(LIVE[:36])
    # Old clients send an empty line after a body. This line begins no new request.
    blank[1].write(b"\r\n")
    # This read ends after the keep-alive timeout, which is the same for all three connections.
    assert await blank[0].read() == b""
    honest[1].write(LIVE[36:])
    assert (await answer(honest))[0] == 200

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.2)
            slow[1].write(b"x")

    dripping = asyncio.create_task(drip())
    status, head = await answer(slow)
    dripping.cancel()
    assert (status, "connection: close" in head) == (408, True)
    assert "\r\nx-request-id: " in head
