"""`Expect: 100-continue`: invalid requests are refused before the client sends their body."""

import json

import pytest

from tests.support.raw_http import DOCUMENT, exchange
from tests.support.resources import PATH
from tests.support.service import MEDIA_TYPE, Client, Service
from tests.support.stack import EVENTS_TOKEN
from tests.support.starting import StartService


def head_of(client: Client, line: str, length: int, *lines: str, token: str | None = None) -> bytes:
    """Return the head of a request that waits for `100 Continue`."""
    return "\r\n".join(
        [
            f"{line} HTTP/1.1",
            "Host: localhost",
            f"X-Auth-Token: {token or client.token}",
            f"X-Organization-Id: {client.organization_id}",
            f"Content-Length: {length}",
            "Expect: 100-continue",
            *(lines or [f"Content-Type: {MEDIA_TYPE}"]),
            "\r\n",
        ]
    ).encode()


@pytest.mark.parametrize(
    ("line", "length", "lines", "status"),
    [
        pytest.param(f"POST {PATH}", 70_000, [], 413, id="too large"),
        pytest.param(f"PATCH {PATH}/1", 70_000, [], 413, id="too large, of a change"),
        pytest.param(f"POST {PATH}", 50, ["Content-Type: text/html"], 415, id="another type"),
        pytest.param(f"PATCH {PATH}/1", 50, ["Content-Type: a/b"], 415, id="of a change"),
        pytest.param(
            f"POST {PATH}",
            50,
            [f"Content-Type: {MEDIA_TYPE}", "Content-Encoding: br"],
            415,
            id="an unknown encoding",
        ),
        pytest.param(
            f"POST {PATH}",
            50,
            [f"Content-Type: {MEDIA_TYPE}", "Accept: text/html"],
            406,
            id="an answer that is not accepted",
        ),
        pytest.param(f"POST {PATH}?x=1", 50, [], 400, id="an unknown parameter"),
        pytest.param("POST /nothing", 50, [], 404, id="no route"),
        pytest.param(f"PUT {PATH}", 50, [], 405, id="no method"),
        pytest.param(f"PATCH {PATH}/x", 50, [], 404, id="no id"),
        pytest.param("POST /events/s3", 50, [], 401, id="an event without a token"),
        pytest.param(
            "POST /events/s3",
            2**21,
            [f"Authorization: Bearer {EVENTS_TOKEN}"],
            413,
            id="an event that is too large",
        ),
    ],
)
async def test_a_request_refused_by_its_head_needs_no_body(
    running: Service, line: str, length: int, lines: list[str], status: int
) -> None:
    answer = await exchange(running, head_of(running.client, line, length, *lines))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"100 Continue" not in answer
    assert b"Connection: close" in answer


async def test_an_unknown_token_is_refused_before_the_body_is_sent(running: Service) -> None:
    head = head_of(running.client, f"POST {PATH}", 50, token="unknown")
    answer = await exchange(running, head)
    assert answer.startswith(b"HTTP/1.1 401 "), answer


@pytest.mark.parametrize(
    ("usual", "other", "status"),
    [(b"100-continue", b"another", 417), (b"Host: localhost", b"Host: no host", 400)],
)
async def test_a_refusal_by_the_server_before_a_body_ends_the_connection(
    running: Service, usual: bytes, other: bytes, status: int
) -> None:
    head = head_of(running.client, f"POST {PATH}", 50).replace(usual, other)
    answer = await exchange(running, head)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"Connection: close" in answer


async def test_a_body_that_is_wanted_is_asked_for(start_service: StartService) -> None:
    service = await start_service()
    sent = json.dumps(DOCUMENT).encode()
    lines = [f"Content-Type: {MEDIA_TYPE}", "Connection: close"]
    head = head_of(service.client, f"POST {PATH}", len(sent), *lines)
    answer = await exchange(service, head, sent)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 "), answer

    whole = await exchange(service, head + sent)
    assert b"HTTP/1.1 201 " in whole

    event = json.dumps({"Records": []}).encode()
    lines = [f"Authorization: Bearer {EVENTS_TOKEN}", "Connection: close"]
    head = head_of(service.client, "POST /events/s3", len(event), *lines)
    answer = await exchange(service, head, event)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "), answer
