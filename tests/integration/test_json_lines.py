"""The log format `json`: each line of each process is an object with the same fields."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.support.faults import PHOTO, closed_port
from tests.support.forked import run_module
from tests.support.log_lines import Line, named, objects
from tests.support.noise import exchange
from tests.support.service import Service, until
from tests.support.service_processes import (
    ApiProcess,
    ConsumeProcess,
    ServiceProcess,
    WorkerProcess,
    client_of,
)


@pytest_asyncio.fixture
async def api(service: Service) -> AsyncIterator[ApiProcess]:
    """Start an API process that receives the store's events."""
    process = ApiProcess(service.environment)
    before = service.stack.relay.target
    try:
        await process.start()
        service.stack.relay.target = process.url
        yield process
    finally:
        service.stack.relay.target = before
        process.close()


@pytest_asyncio.fixture
async def worker(service: Service) -> AsyncIterator[WorkerProcess]:
    """Start a worker process."""
    process = WorkerProcess(service.environment)
    try:
        yield await process.start()
    finally:
        process.close()


def secrets_of(service: Service) -> list[str]:
    settings = service.settings
    return [
        service.client.token,
        *(token.get_secret_value() for token in settings.events_tokens),
        settings.files_secret.get_secret_value() if settings.files_secret else "",
        service.environment["AWS_SECRET_ACCESS_KEY"],
    ]


async def test_one_request_id_is_in_the_answer_the_api_and_the_worker(
    service: Service, api: ApiProcess, worker: WorkerProcess
) -> None:
    client = client_of(service, api)
    attachment = int(await client.upload(PHOTO))
    await client.settled(attachment)
    answer = await client.request(
        "PATCH",
        f"/api/v2/attachments/{attachment}",
        {"data": {"type": "attachments", "id": str(attachment), "attributes": {"uploaded": True}}},
        headers={"X-Request-Id": "order-7:retry/2"},
    )

    async def logged(process: ServiceProcess, event: str, **fields: object) -> Line:
        async def found() -> list[Line]:
            lines = named(process.log(), event)
            return [each for each in lines if fields.items() <= each.items()]

        return dict((await until(found))[0])

    assert answer.headers["X-Request-Id"] == "order-7:retry/2"
    line = await logged(api, "request", request_id="order-7:retry/2")
    assert line["process"] == "api"
    assert line["method"] == "PATCH"
    assert line["route"] == "/api/v2/attachments/{id}"
    assert line["status"] == answer.status
    assert line["milliseconds"] > 0
    assert line["organization"] == client.organization_id
    assert line["attachment"] == attachment
    created = await logged(api, "request", method="POST", route="/api/v2/attachments")
    assert (created["status"], created["attachment"]) == (201, attachment)

    first = await logged(worker, "processed")
    assert first["process"] == "worker"
    assert first["organization"] == client.organization_id
    assert first["attachment"] == attachment
    assert (first["revision"], first["attempt"], first["size"]) == (1, 1, len(PHOTO))
    seconds = first["seconds"]
    assert isinstance(seconds, dict)
    assert {"queued", "read", "decode", "write"} <= set(seconds)
    event = await logged(api, "request", request_id=first["request_id"])
    assert event["route"] == "/events/s3"


async def test_no_line_holds_a_secret_or_a_query(
    service: Service, api: ApiProcess, worker: WorkerProcess
) -> None:
    client = client_of(service, api)
    attachment = await client.upload(PHOTO)
    resource = await client.settled(attachment)
    await client.request("GET", f"/attachments/files/1/x.png?token={client.token}")
    await client.request("GET", "/api/v2/attachments?filter[name]=secret-name-of-a-file")
    await client.request("POST", f"/events/s3/{secrets_of(service)[1]}", body=b"{}")
    await client.request("GET", resource["attributes"]["url"].removeprefix(api.url))
    assert await api.stop() == 0
    assert await worker.stop() == 0

    text = api.log() + worker.log()
    assert len(named(api.log(), "request")) >= 6
    for secret in [*filter(None, secrets_of(service)), "secret-name-of-a-file"]:
        assert secret not in text


async def test_a_request_refused_before_its_route_is_logged_without_one(api: ApiProcess) -> None:
    head = b"GET /api/v2/attachments HTTP/1.1\r\nHost: no host\r\nConnection: close\r\n\r\n"
    assert (await exchange(api, head)).startswith(b"HTTP/1.1 400 ")
    assert await api.stop() == 0
    assert [(line["route"], line["status"]) for line in named(api.log(), "request")] == [
        ("none", 400)
    ]


async def test_request_lines_can_be_switched_off(service: Service) -> None:
    process = ApiProcess(service.environment, log_requests="false")
    try:
        await process.start()
        answer = await client_of(service, process).request("GET", "/api/v2/attachments")
        assert answer.status == 200
        assert "X-Request-Id" in answer.headers
        await process.stop()
        assert not named(process.log(), "request")
    finally:
        process.close()


NOISY = """
import asyncio, logging, sys, threading, warnings, runpy, time
import structlog

def noise():
    while not structlog.is_configured():
        time.sleep(0.05)
    time.sleep(0.5)
    warnings.warn("a warning\\nin two lines", UserWarning)
    print("printed")
    sys.stderr.write("written, without")
    sys.stderr.write(" an end\\n")
    logging.getLogger("asyncio").error("of asyncio", exc_info=ValueError("inner"))
    logging.getLogger("kombu").warning("of kombu %s", "here")
    class Broken:
        def __del__(self):
            raise RuntimeError("in a destructor")
    Broken()
    raise RuntimeError("in a thread")

sys.argv[1:] = {arguments!r}
threading.Thread(target=noise).start()
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("kind", [ApiProcess, WorkerProcess, ConsumeProcess])
async def test_lines_of_libraries_warnings_and_uncaught_errors_are_objects_too(
    service: Service, kind: type[ServiceProcess]
) -> None:
    _, module, *arguments = kind.program
    process = kind(
        service.environment,
        program=("-c", NOISY.format(module=module, arguments=arguments)),
        sqs_queue_url=f"http://127.0.0.1:{closed_port()}/1/queue",
    )
    try:
        await process.start()

        async def all_there() -> bool:
            return "in a thread" in process.log()

        await until(all_there)
        assert await process.stop(signal.SIGINT) == 0
        lines = objects(process.log())
    finally:
        process.close()
    text = [f"{line['event']} {line.get('exception', '')}" for line in lines]
    for part in (
        "a warning\nin two lines",
        "printed",
        "written, without an end",
        "of asyncio",
        "ValueError: inner",
        "of kombu here",
        "in a destructor",
        "in a thread",
    ):
        assert sum(part in each for each in text) == 1, part
    assert len({line["process"] for line in lines}) == 1


@pytest.mark.parametrize(
    ("program", "changes", "fault"),
    [
        (("-m", "api"), {"ATTACHMENTS_DRAIN": "soon"}, "ATTACHMENTS_DRAIN"),
        (("-m", "worker"), {"ATTACHMENTS_LEASE": "long"}, "ATTACHMENTS_LEASE"),
        (("-m", "deploy", "worker"), {"ATTACHMENTS_LEASE": "long"}, "ATTACHMENTS_LEASE"),
        (("-m", "deploy", "consume"), {}, "ATTACHMENTS_SQS_QUEUE_URL"),
        (("-m", "deploy", "api"), {"ATTACHMENTS_API_HOST": "192.0.2.1"}, "ATTACHMENTS_API_HOST"),
        (("-m", "deploy", "up"), {"ATTACHMENTS_LEASE": "long"}, "ATTACHMENTS_LEASE"),
        (("-m", "deploy", "count"), {"ATTACHMENTS_DATABASE_POOL": "x"}, "DATABASE_POOL"),
        (("-m", "deploy", "nonsense"), {}, "nonsense"),
    ],
    ids=lambda value: "-".join(value[1:]) if isinstance(value, tuple) else "",
)
async def test_faults_at_the_start_are_objects(
    service: Service, program: tuple[str, ...], changes: Mapping[str, str], fault: str
) -> None:
    environment = {"PATH": os.environ["PATH"], **service.environment, **changes}
    status, out, err = await asyncio.to_thread(run_module, program, environment, timeout_s=60)
    assert status in (1, 2)
    last = objects(f"{out.decode()}{err.decode()}")[-1]
    assert last["level"] == "error"
    assert fault in f"{last['event']} {last.get('faults')}"
