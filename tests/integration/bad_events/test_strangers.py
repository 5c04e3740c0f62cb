"""Bodies from callers without a token: their size, their number and their duration are limited."""

import asyncio
import gzip
from unittest import mock

import pytest

from api import server
from api.bodies import READ_TIMEOUT_S
from api.events import MAX_SIGNED_BYTES, MAX_STRANGE_BYTES, MAX_STRANGERS
from tests.support.events import send, slow_strangers, status_in_pieces
from tests.support.service import Service, until
from tests.support.starting import StartService


@pytest.mark.parametrize("topics", ["", "arn:aws:sns:eu-west-1:1:t"])
async def test_row48_of_a_strangers_body_little_is_read_and_nothing_unpacked(
    start_service: StartService, topics: str
) -> None:
    service = await start_service(sns_topics=topics)
    wide = b'{"Type":1,"TopicArn":1,"Message":[' + b"[]," * 340_000 + b"[]]}"
    for body, headers in (
        (gzip.compress(wide), {"Content-Encoding": "gzip"}),
        (wide, {}),
    ):
        assert (await send(service, body, headers)).status == 401


async def test_row48_strangers_who_send_slowly_take_no_more_than_their_places(
    start_service: StartService,
) -> None:
    service = await start_service(sns_topics="arn:aws:sns:eu-west-1:1:t")
    body = b'{"Event":"s3:TestEvent","Bucket":"b"}'
    long = b"[]".ljust(MAX_STRANGE_BYTES + 1)
    async with slow_strangers(service, MAX_STRANGERS, MAX_SIGNED_BYTES):

        async def refused() -> bool:
            return await status_in_pieces(service, long, known=False) == 503

        await until(refused)
        # The API still answers requests with a token. It also answers requests without a token if
        # their body is so short that it needs no slot.
        assert await status_in_pieces(service, body.ljust(len(long)), known=True) == 200
        assert await status_in_pieces(service, body, known=False) == 401
        assert (await send(service, long, {})).status == 401

    async def served() -> bool:
        return await status_in_pieces(service, long, known=False) == 401

    await until(served)


async def test_row48_a_stranger_who_breaks_off_is_no_bug(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = mock.Mock()
    monkeypatch.setattr(server, "log", log)
    for length in (9000, MAX_STRANGE_BYTES):
        async with slow_strangers(service, 3, length):
            await asyncio.sleep(0.1)  # the API now waits for the bodies
    assert await status_in_pieces(service, b"{}", known=False) == 401
    await asyncio.sleep(0.1)
    assert log.error.call_args_list == []


@pytest.mark.parametrize(("topics", "status"), [("", 401), ("arn:aws:sns:eu-west-1:1:t", 503)])
async def test_row48_a_stranger_has_less_time_to_send_than_others(
    start_service: StartService, topics: str, status: int
) -> None:
    service = await start_service(sns_topics=topics)
    async with (
        slow_strangers(service, 1, 9000) as [(reader, _)],
        asyncio.timeout(READ_TIMEOUT_S - 1),
    ):
        assert int((await reader.readline()).split()[1]) == status
