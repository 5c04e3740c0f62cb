"""A trace collector that is dead or frozen, or refuses spans: uploads work as usual."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.embedded.ports import choose_port
from tests.support.collector import running_collector
from tests.support.faults import PHOTO
from tests.support.log_lines import named
from tests.support.scraping import read
from tests.support.service import Service, scrape, until
from tests.support.service_processes import ApiProcess, ServiceProcess, WorkerProcess, client_of
from tests.support.starting import Launch

pytestmark = pytest.mark.fault

LOST, BACK = "trace collector is unavailable: spans are lost", "trace collector is back"


async def logs(process: ServiceProcess, event: str) -> None:
    """Wait until a process has logged a line whose `event` is this name."""

    async def logged() -> bool:
        return bool(named(process.log(), event))

    await until(logged, within_s=30)


@asynccontextmanager
async def frozen_collector() -> AsyncIterator[str]:
    """Run a server that accepts connections and requests but never answers; yield its address."""
    ended = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


async def test_a_collector_that_is_away_costs_one_line_and_no_upload(
    service: Service, launch: Launch
) -> None:
    port = choose_port()
    url = {"otlp_url": f"http://127.0.0.1:{port}"}
    api = await launch(ApiProcess(service.environment, **url, metrics_port="0"))
    worker = await launch(WorkerProcess(service.environment, **url))
    service.stack.relay.target = api.url
    client = client_of(service, api)
    for _ in range(3):
        for attachment_id in [await client.upload(PHOTO) for _ in range(3)]:
            assert (await client.settled(attachment_id))["meta"]["state"] == "ready"
        await asyncio.sleep(3)  # longer than the time between two exports
    await logs(api, LOST)
    await logs(worker, LOST)
    for process in (api, worker):
        (line,) = named(process.log(), LOST)
        assert line["level"] == "warning"
        assert line["error"] == "ConnectionError"
        assert "exception" not in process.log()
        assert "Traceback" not in process.log()
    async with running_collector(port=port) as collector:
        await client.upload(PHOTO)
        await collector.wait_for(lambda each: each.service == "attachments-api")

        async def goes_on() -> bool:
            await client.request("GET", "/api/v2/attachments")
            return bool(named(api.log(), BACK))

        await until(goes_on, within_s=30, every_s=0.5)
        (metrics_line,) = named(api.log(), "metrics are served")

        async def are_counted() -> bool:
            found = read(await scrape(metrics_line["url"]))
            seen = sum(each.service == "attachments-api" for each in collector.spans)
            assert found.sum("attachments_trace_spans_total", result="lost") > 0
            return found.sum("attachments_trace_spans_total", result="exported") == seen

        await until(are_counted, within_s=30)
        assert await worker.stop() == 0
        assert await api.stop() == 0
        assert "attachments-worker" in {each.service for each in collector.spans}


async def test_a_frozen_collector_holds_up_no_upload_and_no_stop(
    service: Service, launch: Launch
) -> None:
    async with frozen_collector() as url:
        api = await launch(ApiProcess(service.environment, otlp_url=url))
        worker = await launch(WorkerProcess(service.environment, otlp_url=url))
        service.stack.relay.target = api.url
        client = client_of(service, api)
        attachment_id = await client.upload(PHOTO)
        assert (await client.settled(attachment_id))["meta"]["state"] == "ready"
        await logs(worker, LOST)
        assert await worker.stop(within_s=10) == 0
        assert await api.stop(within_s=10) == 0
    for process in (api, worker):
        assert len(named(process.log(), LOST)) <= 1
        assert len(named(process.log(), "stopped before the last spans were exported")) <= 1
        assert "Traceback" not in process.log()


@pytest.mark.parametrize("status", [302, 401, 503])
async def test_a_collector_that_refuses_is_reported_by_its_status(
    service: Service, launch: Launch, status: int
) -> None:
    async with running_collector() as collector:
        collector.status = status
        headers = "authorization=Bearer%20secret-of-the-vendor"
        api = await launch(
            ApiProcess(service.environment, otlp_url=collector.url, otlp_headers=headers)
        )
        await client_of(service, api).request("GET", "/api/v2/attachments")
        await logs(api, LOST)
        assert await api.stop() == 0
        assert collector.headers["authorization"] == "Bearer secret-of-the-vendor"
    (line,) = named(api.log(), LOST)
    assert line["error"] == f"HTTP {status}"
    assert "secret-of-the-vendor" not in api.log()
