"""The health check of a consumer that is stopped or whose queue does not answer."""

import os
import signal
from typing import Any

import aiohttp

from deploy.embedded.ports import choose_port
from tests.support.commands import command
from tests.support.health import asked, becomes_ready, waits_for
from tests.support.moto_server import Inbox
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.sqs import StartConsumer, launched, with_changed


async def test_a_consumer_that_is_stopped_is_unhealthy_and_then_healthy_again(
    service: Service, start_consumer: StartConsumer
) -> None:
    port = str(choose_port())
    consumer = await start_consumer(service, metrics_port=port)
    assert consumer.process is not None
    assert (await command(service, "health", "consume", metrics_port=port)).status == 0
    assert (await command(service, "health", "--ready", metrics_port=port)).status == 0
    os.kill(consumer.process.pid, signal.SIGSTOP)
    try:
        assert (await command(service, "health", "consume", metrics_port=port)).status == 1
    finally:
        os.kill(consumer.process.pid, signal.SIGCONT)

    async def is_healthy() -> bool:
        return (await command(service, "health", metrics_port=port)).status == 0

    await until(is_healthy, within_s=30)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/health/ready") as answer,
    ):
        parts = (await answer.json())["parts"]
    assert parts == {"database": "ok", "queue": "ok", "broker": "ok"}


async def test_a_consumer_is_ready_when_database_and_queue_answer(
    inbox: Inbox, service: Service
) -> None:
    async with (
        running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as database,
        running_proxy(inbox.url) as queue,
    ):
        database.cut()
        queue.cut()
        urls = {"ATTACHMENTS_DATABASE_URL": database.url, "ATTACHMENTS_SQS_QUEUE_URL": queue.url}
        with launched(service, **urls) as consumer:
            await consumer.logs("metrics are served")
            await waits_for(consumer, "consumer", "database", "queue")
            queue.let_go()
            await waits_for(consumer, "consumer", "database")
            database.let_go()
            await becomes_ready(consumer, "consumer")


IMPATIENT = with_changed("WAIT_S = 0; from worker.queue import start; start.SILENT_S = 2")
"""The program of a consumer whose polls do not wait for messages.

If it does not poll for two seconds, the health check reports it as stuck.
"""


async def test_a_consumer_that_does_not_poll_is_stuck_until_it_polls(
    inbox: Inbox, service: Service
) -> None:
    async with running_proxy(inbox.url) as queue:
        url = {"ATTACHMENTS_SQS_QUEUE_URL": queue.url}
        with launched(service, program=IMPATIENT, **url) as consumer:
            await consumer.logs("consumer is ready")

            async def is_stuck() -> Any:
                status, document = await asked(consumer, "live")
                return document if status == 503 else None

            async def is_alive() -> bool:
                return (await asked(consumer, "live"))[0] == 200

            await until(is_alive)
            queue.hold()
            stuck = await until(is_stuck, within_s=30)
            assert stuck["status"] == "stuck"
            assert stuck["faults"].keys() == {"queue"}
            queue.let_go()
            await until(is_alive, within_s=30)
