"""Metrics: a separate address, a limited number of series, and cheap reads."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from api.measuring import METHODS
from shared.metrics import EVENTS
from shared.metrics_address import CACHED_S, Scrapes
from shared.scrapes import Page, make_server
from tests.support.commands import command
from tests.support.service import Service, scrape, until
from tests.support.starting import StartService, StartWorker

MADE_UP = 200


def series(text: str, name: str) -> list[str]:
    """Return the lines with the series of a metric."""
    return [line for line in text.splitlines() if line.startswith(f"{name}{{")]


async def test_the_public_port_shows_no_metrics(service: Service) -> None:
    answer = await service.client.request("GET", "/metrics")
    assert answer.status == 404
    assert b"attachments_events_total" not in answer.body
    for path in ("/health/live", "/health/ready"):
        assert (await service.client.request("GET", path)).status == 200


async def test_metrics_have_an_address_of_their_own_on_loopback(service: Service) -> None:
    assert service.metrics_url.startswith("http://127.0.0.1:")
    assert not service.metrics_url.startswith(f"{service.base_url}/")
    await service.client.show((await service.client.create())["data"]["id"])
    assert "attachments_request_seconds" in await scrape(service.metrics_url)
    for path, status in (("", 200), ("/", 200), ("/nothing", 404)):
        async with service.client.session.get(f"{service.metrics_url}{path}") as answer:
            assert answer.status == status
            assert answer.headers["Server"] == "attachments"


async def test_without_a_port_there_are_none(start_service: StartService) -> None:
    service = await start_service(metrics_port="")
    assert service.metrics_url == ""


async def test_made_up_methods_and_paths_add_no_series(service: Service) -> None:
    for method in (*sorted(METHODS - {"HEAD"}), "MADEUP"):
        await service.client.request(method, "/made/up/path")
    before = len(series(service.metrics(), "attachments_request_seconds_count"))
    for number in range(MADE_UP):
        method = f"MADEUP{chr(65 + number % 26)}{chr(65 + number // 26)}"
        answer = await service.client.request(method, f"/made/up/{number}")
        assert answer.status in (400, 404, 405)
    after = series(service.metrics(), "attachments_request_seconds_count")
    assert len(after) == before
    assert not [line for line in after if "MADEUP" in line]


async def test_one_scrape_serves_those_of_the_same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("shared.metrics_address.time.monotonic", lambda: now)
    scrapes, counter = Scrapes("api"), EVENTS.labels("aws", "recorded")
    first = await scrapes.body()
    counter.inc()
    assert await scrapes.body() is first
    now += CACHED_S
    assert await scrapes.body() != first


def sent(url: str, request: bytes) -> bytes:
    """Send bytes to a metrics address, and return the whole answer."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30) as to:
        to.sendall(request)
        return b"".join(iter(lambda: to.recv(65536), b""))


async def test_unparsable_requests_are_logged_once_a_minute_without_their_content(
    service: Service, start_worker: StartWorker
) -> None:
    worker = await start_worker(service)
    logged = [json.loads(line) for line in worker.log().splitlines() if "metrics are" in line]
    for number in range(20):
        request = f"GET /metrics HTTP/1.1\r\nHost: x\r\nBad Secret{number}: y\r\n\r\n"
        answer = await asyncio.to_thread(sent, logged[0]["url"], request.encode())
        assert answer.startswith(b"HTTP/1.0 400 "), answer
        assert b"Secret" not in answer

    # Wait for the line, because a thread writes the log and may write it after the answer.
    async def unreadable() -> list[str]:
        return [line for line in worker.log().splitlines() if "unreadable" in line]

    assert len(await until(unreadable)) == 1
    assert "Secret" not in worker.log()
    assert "Traceback" not in worker.log()


async def test_a_body_ends_its_connection(service: Service) -> None:
    trailer = b"0\r\nX-Trailer: y\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await asyncio.to_thread(sent, service.metrics_url, head + trailer)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"attachments_request_seconds" not in answer


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_connections_are_bounded_and_keep_no_one_from_the_metrics(
    service: Service, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr("shared.scrapes.MAX_CONNECTIONS", 3)
    parts = urlsplit(service.metrics_url)
    place = (str(parts.hostname), int(parts.port or 0))
    held = [socket.create_connection(place, timeout=30) for _ in range(3)]
    for each in held:
        each.sendall(first)
        if first:
            assert await asyncio.to_thread(each.recv, 1) == b"H"
    assert "attachments_request_seconds" in await scrape(service.metrics_url)

    def rest(of: socket.socket) -> None:
        while of.recv(65536):
            pass

    # The oldest connection has ended, the others have not.
    with suppress(ConnectionResetError):
        await asyncio.to_thread(rest, held[0])
    for each in held[1:]:
        each.settimeout(0)
        with pytest.raises(BlockingIOError):
            rest(each)
    for each in held:
        each.close()


async def test_a_connection_that_is_being_answered_is_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.scrapes.MAX_CONNECTIONS", 2)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> Page:
        begun.set()
        await may_end.wait()
        return Page(b"slow", "text/plain")

    async with AsyncExitStack() as stack:
        runner = web.ServerRunner(make_server({"/": slow}))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(*place)
        stack.callback(writer.close)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await begun.wait()
        silent = [await asyncio.open_connection(*place) for _ in range(3)]
        for _, each in silent:
            stack.callback(each.close)
        with suppress(ConnectionResetError):
            assert await silent[0][0].read() == b""
        may_end.set()
        assert (await reader.read()).endswith(b"slow")


async def test_a_worker_has_an_address_too(service: Service, start_worker: StartWorker) -> None:
    worker = await start_worker(service)
    logged = [json.loads(line) for line in worker.log().splitlines() if "metrics are" in line]
    assert "process_cpu_seconds_total" in await scrape(logged[0]["url"])


@pytest.mark.parametrize("process", ["api", "worker"])
async def test_a_port_that_is_taken_is_one_clear_line(service: Service, process: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await command(service, process, metrics_port=port, api_port="0")
    assert ended.status == 1
    assert "ATTACHMENTS_METRICS_PORT" in ended.err
    assert f"port {port} cannot be listened on" in ended.err
    assert "Traceback" not in ended.err


async def test_a_host_that_is_none_is_one_clear_line(service: Service) -> None:
    ended = await command(service, "api", metrics_host="no such host", api_port="0")
    assert ended.status == 1
    assert "ATTACHMENTS_METRICS_HOST" in ended.err
    assert "Traceback" not in ended.err
