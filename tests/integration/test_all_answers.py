"""Tests of the check that compares every answer of an API with the OpenAPI description.

It compares the answers to any client, not only to the client of the tests.
"""

import aiohttp
import pytest

from api import app
from tests.support import strange_api
from tests.support.checked_answers import take_noted, take_undescribed
from tests.support.forked import server
from tests.support.raw_http import exchange
from tests.support.service import Service
from tests.support.service_processes import ApiProcess
from tests.support.starting import Launch, StartService

FAULT = "GET /health/live: 200 has header fields without a description: ['x-another']"


async def fetch(address: str) -> bytes:
    """Send a request without `Client`, which would check the answer itself."""
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        return await answer.read()


async def test_another_answer_of_an_api_in_this_process_is_noted(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "health_live", strange_api.health)
    service = await start_service()

    await fetch(f"{service.base_url}/health/ready")
    assert take_undescribed() == []
    await fetch(f"{service.base_url}/health/live?a=1")

    assert take_undescribed() == [f"AssertionError: {FAULT}"]


async def test_another_answer_of_a_forked_api_is_noted(service: Service, launch: Launch) -> None:
    program = ("-m", "tests.support.strange_api")
    api = await launch(ApiProcess(service.environment, program=program))

    await fetch(f"{api.url}/health/ready")
    assert take_noted(server.faults) == []
    await fetch(f"{api.url}/health/live")

    assert take_noted(server.faults) == [f"AssertionError: {FAULT}"]
    assert take_noted(server.faults) == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"\x00 / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
    ],
    ids=["by hand", "by aiohttp", "by the application"],
)
async def test_answers_of_the_server_itself_are_compared(
    service: Service, monkeypatch: pytest.MonkeyPatch, head: bytes, status: bytes
) -> None:
    monkeypatch.setattr("tests.support.described.TRANSPORT", {"content-type", "connection"})

    assert (await exchange(service, head)).split()[1] == status

    (fault,) = take_undescribed()
    assert "'server'" in fault
