"""The health check reports a process that is suspended (SIGSTOP), until the process runs again."""

import os
import signal

import aiohttp
import pytest

from deploy.embedded.ports import choose_port
from tests.support.commands import command
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.starting import Launch, StartWorker

pytestmark = pytest.mark.fault


async def test_a_worker_that_is_stopped_is_unhealthy_and_then_healthy_again(
    service: Service, start_worker: StartWorker
) -> None:
    port = str(choose_port())
    worker = await start_worker(service, metrics_port=port)
    assert (await command(service, "health", metrics_port=port)).status == 0
    assert (await command(service, "health", "worker", "--ready", metrics_port=port)).status == 0
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        ended = await command(service, "health", metrics_port=port)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert ended.status == 1
    assert ended.err == f"attachments: health: no answer at 127.0.0.1 port {port}: TimeoutError\n"

    async def is_healthy() -> bool:
        return (await command(service, "health", metrics_port=port)).status == 0

    await until(is_healthy)


async def test_an_api_that_is_stopped_is_unhealthy_at_both_addresses(
    service: Service, launch: Launch
) -> None:
    port = str(choose_port())
    api = await launch(ApiProcess(service.environment, metrics_port=port))
    own = {"api_port": api.environment["ATTACHMENTS_API_PORT"], "metrics_port": port}
    assert (await command(service, "health", **own)).status == 0
    assert (await command(service, "health", "api", "--ready", **own)).status == 0
    os.kill(api.pid, signal.SIGSTOP)
    try:
        assert (await command(service, "health", **own)).status == 1
        assert (await command(service, "health", "api", **own)).status == 1
    finally:
        os.kill(api.pid, signal.SIGCONT)


async def test_a_worker_without_its_database_is_alive_and_not_ready(
    service: Service, start_worker: StartWorker, database_url: str
) -> None:
    port = str(choose_port())
    url = f"http://127.0.0.1:{port}/health"

    async def parts(status: int) -> dict[str, str] | None:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/ready") as answer:
            found = (await answer.json())["parts"]
            return found if answer.status == status else None

    async with running_proxy(database_url) as way:
        await start_worker(service, metrics_port=port, database_url=way.url)
        assert await until(lambda: parts(200)) == dict.fromkeys(
            ("database", "store", "broker"), "ok"
        )
        way.hold()
        away = await until(lambda: parts(503))
        assert away["store"] == "ok"
        assert away["database"] != "ok"
        assert (await command(service, "health", metrics_port=port)).status == 0
        assert (await command(service, "health", "--ready", metrics_port=port)).status == 1
        way.let_go()
        await until(lambda: parts(200))


@pytest.mark.parametrize("port", ["", "0"])
async def test_without_a_port_the_check_names_the_setting(service: Service, port: str) -> None:
    ended = await command(service, "health", "worker", metrics_port=port)
    assert ended.status == 1
    assert "ATTACHMENTS_METRICS_PORT: is " in ended.err
