"""Requests of load balancers and old clients: HTTP/1.0, HEAD, OPTIONS, HTTP/2, no Host."""

import asyncio
import json
import re
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.connection import HTTP2, MAX_LINE
from api.slow_readers import NO_LINGER
from tests.support.resources import PATH, body
from tests.support.service import MEDIA_TYPE, Service
from tests.support.service_processes import ApiProcess

HTTP2_CLIENT = HTTP2 + b"\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


async def send(url: str, *pieces: bytes) -> bytes:
    """Send the pieces one by one; read until the connection ends or no byte arrives for 2 s."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(2):
                while received := await reader.read(65536):
                    answer += received
            return answer
        return answer + b"(kept)"
    finally:
        writer.close()


def credentials(service: Service) -> str:
    """Return the header fields with the client's token and organization."""
    client = service.client
    return (
        f"X-Auth-Token: {client.token}\r\nX-Organization-Id: {client.organization_id}\r\n"
        f"Content-Type: {MEDIA_TYPE}\r\n"
    )


def create(service: Service, version: str, *fields: str) -> tuple[bytes, bytes]:
    """Return the head and the body of a create request."""
    content = json.dumps(body({"name": "a.png"})).encode()
    lines = "".join(f"{field}\r\n" for field in fields)
    head = (
        f"POST {PATH} HTTP/{version}\r\n{credentials(service)}"
        f"Content-Length: {len(content)}\r\n{lines}\r\n"
    )
    return head.encode(), content


def parts(answer: bytes) -> tuple[int, str, bytes]:
    """Return the status of an answer, its head in lower case, and all bytes after the head."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), rest


async def every_answer(service: Service, version: str, field: str) -> dict[str, bytes]:
    """Send several requests with one additional header field; return the answers, with names."""
    known = credentials(service)
    asked = {
        "ready": f"GET /health/ready HTTP/{version}\r\n{field}\r\n\r\n",
        "head": f"HEAD /health/ready HTTP/{version}\r\n{field}\r\n\r\n",
        "options": f"OPTIONS /health/live HTTP/{version}\r\n{field}\r\n\r\n",
        "list": f"GET {PATH} HTTP/{version}\r\n{known}{field}\r\n\r\n",
        "no token": f"GET {PATH} HTTP/{version}\r\n{field}\r\n\r\n",
        "no route": f"GET /x HTTP/{version}\r\n{field}\r\n\r\n",
        "no method": f"PUT {PATH} HTTP/{version}\r\n{field}\r\n\r\n",
        "no file": f"GET /attachments/files/x HTTP/{version}\r\n{field}\r\n\r\n",
    }
    sent = {name: text.encode() for name, text in asked.items()}
    sent["create"] = b"".join(create(service, version, field))
    answers = await asyncio.gather(*(send(service.base_url, each) for each in sent.values()))
    return dict(zip(sent, answers, strict=True))


STATUSES = {
    "ready": 200,
    "head": 200,
    "options": 200,
    "list": 200,
    "no token": 401,
    "no route": 404,
    "no method": 405,
    "no file": 404,
    "create": 201,
}


async def test_http_1_0_is_answered_without_chunks_and_the_connection_ends(
    service: Service,
) -> None:
    for name, answer in (await every_answer(service, "1.0", "Accept: */*")).items():
        status, head, _ = parts(answer)
        assert status == STATUSES[name], name
        assert "transfer-encoding" not in head
        assert re.search(r"\r\ncontent-length: \d+", head), name
        assert not answer.endswith(b"(kept)")


async def test_http_1_0_keeps_the_connection_if_it_is_asked_to(service: Service) -> None:
    for name, answer in (await every_answer(service, "1.0", "Connection: Keep-Alive")).items():
        status, head, _ = parts(answer)
        assert status == STATUSES[name], name
        assert "\r\nconnection: keep-alive" in head, name
        assert "transfer-encoding" not in head
        assert answer.endswith(b"(kept)")


async def test_two_requests_of_http_1_0_share_a_connection(service: Service) -> None:
    request = b"GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

    answer = await send(service.base_url, request, request)

    assert answer.count(b"HTTP/1.") == 2


async def test_a_body_that_waits_for_100_is_asked_for(service: Service) -> None:
    expecting = ("Host: a", "Expect: 100-continue")
    answer = await send(service.base_url, *create(service, "1.1", *expecting))
    # The API may omit `100 Continue` if the body has already arrived (RFC 9110, section 10.1.1).
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 201 ")

    # HTTP/1.0 has no 100 Continue, so the API must not send it (RFC 9110, section 10.1.1).
    answer = await send(service.base_url, *create(service, "1.0", expecting[1]))
    assert parts(answer)[0] == 201


async def test_http_2_is_refused_in_so_many_words(service: Service) -> None:
    status, head, rest = parts(await send(service.base_url, HTTP2_CLIENT))

    assert status == 505
    assert "\r\nconnection: close" in head
    (error,) = json.loads(rest)["errors"]
    assert (error["status"], error["title"]) == ("505", "HTTP Version Not Supported")
    assert "HTTP/1.1" in error["detail"]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
async def test_an_offer_to_speak_another_protocol_is_not_taken_up(
    service: Service, upgrade: str
) -> None:
    head = (
        f"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
    ).encode()

    answer = await send(service.base_url, head, b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_a_target_in_absolute_form_is_served(service: Service) -> None:
    for authority in ("host.example", "host.example:8080", "127.0.0.1"):
        request = f"GET http://{authority}/health/ready HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        assert parts(await send(service.base_url, request.encode()))[0] == 200


async def test_long_targets_and_fields_are_read_or_refused_by_their_length(
    service: Service,
) -> None:
    known = f"Host: a\r\n{credentials(service)}"
    fits = f"GET {PATH}?fields[attachments]={'a' * 8000} HTTP/1.1\r\n{known}\r\n"
    assert parts(await send(service.base_url, fits.encode()))[0] == 200

    for text in (
        f"GET {PATH}?{'a' * MAX_LINE} HTTP/1.1\r\n{known}\r\n",
        f"GET {PATH} HTTP/1.1\r\n{known}X-Long: {'a' * (MAX_LINE + 10)}\r\n\r\n",
    ):
        status, _, rest = parts(await send(service.base_url, text.encode()))
        assert status == 400
        assert str(MAX_LINE) in json.loads(rest)["errors"][0]["detail"]


async def test_the_proxy_protocol_is_refused(service: Service) -> None:
    for preface in (
        b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 8000\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    ):
        request = preface + b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
        assert parts(await send(service.base_url, request))[0] == 400


async def test_health_checks_leave_no_trace_in_the_log(service: Service) -> None:
    api = ApiProcess(service.environment)
    try:
        api.sign = "api is ready"
        await api.start()
        before = api.log()
        url = urlsplit(api.url)
        for reset in (False, True):
            connection = socket.create_connection((url.hostname or "", url.port or 0), 5)
            if reset:  # haproxy resets the connections of its health checks
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            connection.close()
        for method in ("GET", "HEAD", "OPTIONS"):
            for path in ("/health/live", "/health/ready"):
                for head in (f"{method} {path} HTTP/1.0\r\n\r\n", f"{method} {path} HTTP/1.0\r\n"):
                    await send(api.url, head.encode())  # the second request's head is incomplete
        assert api.log() == before
    finally:
        api.close()


async def test_a_trusted_proxys_scheme_and_host_are_in_links(start_service: Any) -> None:
    service = await start_service(trusted_proxies="127.0.0.1", hosts="api.example,other.example")
    reported = {
        "https://api.example": "X-Forwarded-Proto: https\r\nX-Forwarded-Host: API.example",
        "https://other.example": "Forwarded: for=198.51.100.7;proto=https;host=other.example",
        "http://api.example": "X-Forwarded-Host: api.example",
        "": "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example",
    }
    for origin, fields in reported.items():
        answer = await send(
            service.base_url, b"".join(create(service, "1.1", "Host: 127.0.0.1", fields))
        )
        _, head, _ = parts(answer)
        assert f"\r\nlocation: {origin}{PATH}/" in head, fields

    plain = await start_service(hosts="api.example")
    for fields in reported.values():
        answer = await send(
            plain.base_url, b"".join(create(plain, "1.1", "Host: api.example", fields))
        )
        assert f"\r\nlocation: http://api.example{PATH}/" in parts(answer)[1]
