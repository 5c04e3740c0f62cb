"""Senders of events: their tokens, and the answers while the database or the broker is missing."""

import json
import socket
from collections.abc import Mapping

import pytest

from tests.support.dialects import DIALECTS, Dialect
from tests.support.events import EVENTS, RECORDED, basic, message, new_row, record, send
from tests.support.service import Service
from tests.support.stack import BUCKET, EVENTS_TOKEN
from tests.support.starting import StartService
from tests.support.valid_events import post_records

FIRST, SECOND = "first-events-token", "second words-of-a-token"


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        pytest.param({"Authorization": f"Bearer {FIRST}"}, EVENTS, id="bearer"),
        pytest.param({"Authorization": f"bearer {FIRST}"}, EVENTS, id="bearer-in-lower-case"),
        pytest.param({"Authorization": f"Bearer {SECOND}"}, EVENTS, id="second-live-token"),
        pytest.param({"Authorization": SECOND}, EVENTS, id="verbatim-two-words"),
        pytest.param({"Authorization": FIRST}, EVENTS, id="verbatim"),
        pytest.param({"Authorization": basic("any", FIRST)}, EVENTS, id="basic"),
        pytest.param({"Authorization": basic("", SECOND)}, EVENTS, id="basic-without-user"),
        pytest.param({"X-Api-Key": FIRST}, EVENTS, id="api-key"),
        pytest.param({"X-Api-Key": SECOND}, EVENTS, id="api-key-second"),
        pytest.param({}, f"{EVENTS}/{FIRST}", id="in-the-path"),
        pytest.param({}, f"{EVENTS}/{SECOND.replace(' ', '%20')}", id="in-the-path-second"),
    ],
)
async def test_a_live_token_opens_however_it_is_sent(
    start_service: StartService, headers: Mapping[str, str], path: str
) -> None:
    service = await start_service(events_tokens=f"{FIRST},{SECOND}")
    row = await new_row(service)
    answer = await send(service, message(record(row.key)), headers, path)
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_a_source_that_can_send_no_header_has_the_token_in_its_address(
    service: Service, dialect: Dialect
) -> None:
    row = await new_row(service)
    body = json.dumps(dialect.message(dialect.make_event(BUCKET, row.key, etag="e1"))).encode()
    answer = await send(service, body, {}, f"{EVENTS}/{EVENTS_TOKEN}")
    assert (answer.status, answer.document["meta"]) == (200, RECORDED)


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_without_the_database_the_source_gets_503(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c")
    answer = await send(
        service, message(record("attachments/files/000/000/001/original/a.png", eTag="e1"))
    )
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.document["errors"][0]["title"] == "Service Unavailable"


async def test_without_the_database_requests_without_rows_are_answered(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c")
    assert (await send(service, b'{"Event":"s3:TestEvent","Bucket":"b"}')).status == 200


async def test_without_the_broker_events_are_recorded_and_answered(
    start_service: StartService, closed_port: int
) -> None:
    service = await start_service(broker_url=f"redis://127.0.0.1:{closed_port}/0")
    rows = [await new_row(service) for _ in range(5)]
    for row in rows:
        assert await post_records(service, record(row.key, eTag="e1")) == RECORDED
        assert (await service.row(row.id)).state == "uploaded"


async def test_a_token_in_the_path_is_not_logged(
    start_service: StartService, closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(
        database_url=f"postgresql://a:b@127.0.0.1:{closed_port}/c", log_requests="true"
    )
    body = message(record("attachments/files/000/000/001/original/a.png", eTag="e1"))
    async with service.client.session.post(
        f"{service.base_url}/events/s3/{EVENTS_TOKEN}", data=body
    ) as answer:
        assert answer.status == 503
    captured = capsys.readouterr()
    written = captured.out + captured.err
    assert "/events/s3/{token}" in written
    assert EVENTS_TOKEN not in written
