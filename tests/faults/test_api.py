"""Faults of the API: its process dies before or after a commit, or clients never finish
requests."""

import asyncio
import json
import time
from contextlib import suppress

import asyncpg
import pytest

from shared.storage import Storage
from tests.support.faults import PHOTO, SOON, changed, is_whole, posted, reaches
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.starting import Launch, StartService, StartWorker

pytestmark = pytest.mark.fault

DIE_AFTER_COMMIT = """
import os
from shared.publisher import Publisher
Publisher.publish = lambda *_: os._exit(1)
"""
DIE_BEFORE_COMMIT = """
import os
from shared import lifecycle
def die(*_, **__):
    os._exit(1)
lifecycle.record_uploads = die
"""
LIMIT_HEADS = """
import api.connection
api.connection.HEAD_TIMEOUT_S = 2.0
"""
FEW_DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""
SOCKETS = 500
WHOLE_HEAD = b"GET /health/live HTTP/1.1\r\nHost: attachments\r\n\r\n"
HALF_A_HEAD = b"POST /events/s3 HTTP/1.1\r\nHost: attachments\r\nX-Slow: "


async def test_f12_uploads_committed_before_the_api_died_are_processed_once(
    start_service: StartService, start_worker: StartWorker, storage: Storage, launch: Launch
) -> None:
    service = await start_service(publish_grace="0.5")
    relay = service.stack.relay
    row, event = await posted(service)
    dying = await launch(ApiProcess(service.environment, program=changed(DIE_AFTER_COMMIT, "api")))
    relay.target = dying.url
    # The source of the event gets no answer (status 0), so it does not know that the event is
    # recorded.
    assert await relay.post(event) == 0
    assert dying.process is not None
    assert await asyncio.to_thread(dying.process.wait, 10) == 1
    assert (await service.row(row.id)).state == "uploaded"
    relay.target = service.base_url
    assert await relay.post(event) == 200  # the source sends the event again
    worker = await start_worker(service, **SOON)
    found = await reaches(service, row.id, "ready")
    assert (found.revision, found.attempt) == (1, 1)
    await is_whole(service, storage, row.id, PHOTO)
    await until(lambda: asyncio.sleep(0, worker.log().count('"processed"') == 1))


async def test_f13_an_api_that_dies_before_the_commit_has_changed_nothing(
    service: Service, start_worker: StartWorker, storage: Storage, launch: Launch
) -> None:
    relay = service.stack.relay
    row, event = await posted(service)
    dying = await launch(ApiProcess(service.environment, program=changed(DIE_BEFORE_COMMIT, "api")))
    relay.target = dying.url
    assert await relay.post(event) == 0
    assert await service.row(row.id) == row
    relay.target = service.base_url
    assert await relay.post(event) == 200
    await start_worker(service)
    assert (await reaches(service, row.id, "ready")).revision == 1
    await is_whole(service, storage, row.id, PHOTO)


async def test_f13_an_api_that_is_killed_while_its_statement_waits_has_changed_nothing(
    service: Service, start_worker: StartWorker, storage: Storage, launch: Launch
) -> None:
    relay = service.stack.relay
    row, event = await posted(service)
    api = await launch(ApiProcess(service.environment))
    relay.target = api.url
    waiting = """SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    lock = await asyncpg.connect(service.settings.database_url.get_secret_value())
    try:
        transaction = lock.transaction()
        await transaction.start()
        await lock.fetchrow("SELECT id FROM attachments WHERE id = $1 FOR UPDATE", row.id)
        post = asyncio.create_task(relay.post(event))
        await until(lambda: service.database.fetchval(waiting))
        api.kill()
        assert await post == 0

        # PostgreSQL does not notice that the API is dead. A timeout ends the statement.
        async def ended() -> bool:
            return not await service.database.fetchval(waiting)

        await until(ended)
        await transaction.rollback()
    finally:
        await lock.close()
    assert await service.row(row.id) == row
    await api.start()
    assert await relay.post(event) == 200
    await start_worker(service)
    assert (await reaches(service, row.id, "ready")).revision == 1
    await is_whole(service, storage, row.id, PHOTO)


async def test_f24_five_hundred_requests_that_never_end_leave_the_others_alone(
    service: Service, launch: Launch
) -> None:
    api = await launch(ApiProcess(service.environment, program=changed(LIMIT_HEADS, "api")))
    port = int(api.url.rpartition(":")[2])

    async def begin() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # Without this part of a head, the API would close the connection without an answer.
        writer.write(HALF_A_HEAD)
        return reader, writer

    opened = await asyncio.gather(*(begin() for _ in range(SOCKETS)))
    began = time.monotonic()
    answers = [asyncio.create_task(reader.read()) for reader, _ in opened]

    async def drip() -> None:  # slow progress does not extend the timeout
        while True:
            await asyncio.sleep(0.2)
            for _, writer in opened[::10]:
                writer.write(b"x")

    dripping = asyncio.create_task(drip())
    service.client.base_url = api.url
    served = 0
    try:
        while not all(answer.done() for answer in answers):
            async with asyncio.timeout(3):
                await service.client.create()
            served += 1
            assert time.monotonic() - began < 10
            # With this pause, the client stays below its rate limit on any machine.
            await asyncio.sleep(0.05)
        assert served
        late = await asyncio.gather(*answers, return_exceptions=True)
        # Some answers are lost: if a client sends a byte after the answer, the kernel may reset the
        # connection.
        whole = [each for each in late if isinstance(each, bytes)]
        assert all(isinstance(each, (bytes, ConnectionError)) for each in late)
        assert len(whole) >= SOCKETS // 2
        assert all(each.startswith(b"HTTP/1.1 408 ") for each in whole)
        assert json.loads(whole[0].partition(b"\r\n\r\n")[2])["errors"][0]["status"] == "408"
    finally:
        dripping.cancel()
        for _, writer in opened:
            writer.close()
    await service.client.create()


async def test_f24_a_low_limit_of_descriptors_lets_no_silent_client_shut_out_the_others(
    service: Service, launch: Launch
) -> None:
    api = await launch(ApiProcess(service.environment, program=changed(FEW_DESCRIPTORS, "api")))
    port = int(api.url.rpartition(":")[2])
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", port) for _ in range(SOCKETS))
    )
    service.client.base_url = api.url
    try:
        await service.client.create()
    finally:
        for _, writer in opened:
            writer.close()


async def test_f24_an_idle_connection_is_closed_and_a_served_one_stays(
    service: Service, launch: Launch
) -> None:
    api = await launch(ApiProcess(service.environment, program=changed(LIMIT_HEADS, "api")))
    port = int(api.url.rpartition(":")[2])
    silent = await asyncio.open_connection("127.0.0.1", port)
    kept = await asyncio.open_connection("127.0.0.1", port)
    for wait_s in (0.0, 0.5):
        await asyncio.sleep(wait_s)
        kept[1].write(WHOLE_HEAD)
        async with asyncio.timeout(10):
            assert (await kept[0].readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            # This read ends when the API closes the idle connection after its timeout. The next
            # request on the other connection comes after this time.
            assert await silent[0].read() == b""
    for _, writer in (silent, kept):
        writer.close()


async def test_f24_a_later_head_on_a_kept_connection_has_an_end_too(
    service: Service, launch: Launch
) -> None:
    api = await launch(ApiProcess(service.environment, program=changed(LIMIT_HEADS, "api")))
    port = int(api.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(WHOLE_HEAD)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")

    async def drip() -> None:
        writer.write(HALF_A_HEAD)
        while True:
            await asyncio.sleep(0.2)
            writer.write(b"x")

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(10):
        # The connection is reset if the client sends a byte after the API has closed it.
        with suppress(ConnectionError):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    dripping.cancel()
    writer.close()
