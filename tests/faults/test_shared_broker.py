"""A Redis that other programs also use, that limits the service's rights, or that refuses the
service."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import redis.asyncio

from deploy.doctor.rights import ATTEMPTS
from deploy.embedded.ports import choose_port
from deploy.embedded.valkey import EmbeddedValkey, find_binary
from shared.deployment import deployment_id
from shared.schema import migrate
from tests.support.commands import command
from tests.support.faults import PHOTO, SOON, closed_port, reaches
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess, ServiceProcess, WorkerProcess
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

pytestmark = pytest.mark.fault

NO_SWEEP = {"sweep_interval": "300", "publish_grace": "300"}


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """Start a broker that only this test uses."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


async def own_id(service: Service) -> str:
    async with service.database.acquire() as connection:
        return await deployment_id(connection)


async def test_every_key_begins_with_the_id_that_the_database_keeps(
    start_service: StartService, start_worker: StartWorker, valkey: EmbeddedValkey
) -> None:
    service = await start_service(broker_url=valkey.url, queue_prefix="", **NO_SWEEP)
    prefix = f"attachments:{await own_id(service)}:"
    async with redis.asyncio.from_url(valkey.url, decode_responses=True) as client:
        seen: list[str] = []
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await until(lambda: client.keys(f"{prefix}rate:*"))
        seen += map(str, await client.keys("*"))
        # Wait for the wake-up before the worker is started. The worker's start can delay the API,
        # which runs in the test's process. Then the API answers the event with 503, and the event
        # is not sent again.
        await until(lambda: client.keys(f"{prefix}attachments-*"))
        seen += map(str, await client.keys("*"))
        await start_worker(service)
        await reaches(service, attachment_id, "ready")
        seen += map(str, await client.keys("*"))
        assert seen
        assert [key for key in seen if not key.startswith(prefix)] == []


async def test_two_deployments_at_one_broker_leave_each_other_alone(
    start_service: StartService, start_worker: StartWorker, valkey: EmbeddedValkey
) -> None:
    service = await start_service(broker_url=valkey.url, queue_prefix="", **NO_SWEEP)
    other = WorkerProcess(
        {**service.environment, "ATTACHMENTS_QUEUE_PREFIX": "other"}, **SOON, attempts="1"
    )
    foreign = f"attachments-{service.client.organization_id % 32}"
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.lpush(foreign, b"of another Celery application")
        try:
            await other.start()
            await start_worker(service)
            attachment_id = await service.client.upload(PHOTO, "img.jpg")
            await reaches(service, attachment_id, "ready")
        finally:
            other.close()
        assert await client.llen(foreign) == 1


async def test_an_id_is_made_once_by_the_first_process(stack: Stack, database_url: str) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=8, max_size=8)
    before = await pool.fetchval("SELECT id FROM deployment")
    await pool.execute("DELETE FROM deployment")

    async def read() -> str:
        async with pool.acquire() as connection:
            return await deployment_id(connection)

    ids = set(await asyncio.gather(*(read() for _ in range(8))))
    assert len(ids) == 1
    assert ids != {before}
    await asyncio.to_thread(migrate, database_url)
    assert await pool.fetchval("SELECT id FROM deployment") in ids
    await pool.close()


async def limit(valkey: EmbeddedValkey, prefix: str, without: str | None) -> str:
    """Create a user of the broker with all rights that the doctor requires, except for
    one command.
    """
    names = [*ATTEMPTS, "exec", "unwatch", "select", "ping", "info", "client|list"]
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.acl_setuser(
            "limited",
            enabled=True,
            reset=True,
            passwords=["+its-password"],
            keys=[f"{prefix}*"],
            reset_channels=True,
            categories=["-@all"],
            commands=[f"+{name}" for name in names if name != without],
        )
    return valkey.url.replace(f":{valkey.password}@", "limited:its-password@")


async def test_a_user_that_may_use_our_prefix_alone_is_enough(
    start_service: StartService, start_worker: StartWorker, valkey: EmbeddedValkey
) -> None:
    url = await limit(valkey, "team-a:", None)
    service = await start_service(broker_url=url, queue_prefix="team-a", **NO_SWEEP)
    worker = await start_worker(service)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "ready")
    assert "cannot be used" not in worker.log()


@pytest.mark.parametrize(
    ("prefix", "without", "found"),
    [
        ("team-a:", None, "keys begin with team-a:"),
        ("team-a:", "evalsha", "the user may not: evalsha"),
        ("team-a:", "time", "the user may not: time"),
        ("team-a:", "brpop", "the user may not: brpop"),
        ("team-b:", None, "the user may not use keys that begin with team-a:"),
    ],
)
async def test_the_doctor_reports_missing_rights_of_the_user(
    working: Service, valkey: EmbeddedValkey, prefix: str, without: str | None, found: str
) -> None:
    url = await limit(valkey, prefix, without)
    ended = await command(working, "doctor", "--wait", "1", broker_url=url, queue_prefix="team-a")
    assert found in " ".join(ended.out.replace("│", " ").split())


# --- refusals ------------------------------------------------------------------------------------


async def replica(client: Any) -> None:
    await client.execute_command("REPLICAOF", "127.0.0.1", str(closed_port()))


async def password(client: Any) -> None:
    await client.execute_command("CONFIG", "SET", "requirepass", "another")


async def full(client: Any) -> None:
    await client.config_set("maxmemory", "1")


async def no_disk(client: Any) -> None:
    await client.config_set("min-replicas-to-write", "1")


async def logs_cause(process: ServiceProcess, cause: str) -> bool:
    return cause in process.log()


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        pytest.param(replica, "read-only replica", id="READONLY"),
        pytest.param(password, "refuses the user or the password", id="WRONGPASS"),
        pytest.param(full, "memory is full", id="OOM"),
        pytest.param(no_disk, "too few replicas", id="NOREPLICAS"),
    ],
)
async def test_a_broker_that_refuses_us_is_named_and_costs_no_upload(
    start_service: StartService,
    valkey: EmbeddedValkey,
    break_it: Callable[[Any], Any],
    cause: str,
) -> None:
    service = await start_service()
    async with redis.asyncio.from_url(valkey.url) as client:
        await break_it(client)
    api = ApiProcess(service.environment, broker_url=valkey.url, publish_grace="1")
    worker = WorkerProcess(service.environment, broker_url=valkey.url, **SOON)
    service.stack.relay.target = api.url
    try:
        await asyncio.gather(api.start(), worker.start())
        attachment_id = await service.client.upload(PHOTO, "img.jpg")
        await reaches(service, attachment_id, "ready")
        for process in (api, worker):
            await until(partial(logs_cause, process, cause))
            assert await process.stop() == 0
            assert "Traceback" not in process.log()
            assert process.log().count(cause) < 4
    finally:
        api.close()
        worker.close()


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[str]:
    port = choose_port()
    with running(
        [
            str(find_binary()),
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--dir",
            str(folder),
            "--save",
            "",
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            str(choose_port()),
        ]
    ):
        url = f"redis://127.0.0.1:{port}/0"
        made: Any = redis.asyncio.from_url(url)
        async with made as client:

            async def answers() -> bool:
                try:
                    return bool(await client.ping())
                except redis.exceptions.ConnectionError:
                    return False

            await until(answers)
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        yield url


@contextmanager
def running(program: list[str]) -> Any:
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["api", "worker"])
async def test_a_broker_in_cluster_mode_is_refused_at_start(
    service: Service, tmp_path: Path, name: str
) -> None:
    async with cluster(tmp_path) as url:
        ended = await command(service, name, broker_url=url, api_port="0")
    assert ended.status == 1
    assert "ATTACHMENTS_BROKER_URL: the broker is in cluster mode" in ended.err
    assert "Traceback" not in ended.err
