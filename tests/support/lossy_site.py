"""An API, a worker and a consumer with their own servers. A test can stop these servers."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from aiohttp import web

from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS, Webhook
from deploy.embedded.valkey import EmbeddedValkey
from shared.bucket_owner import claim_bucket
from shared.database import open_database
from shared.lifecycle import COPY_ATTEMPTS
from shared.schema import migrate
from shared.store_client import open_storage
from tests.support.faults import PHOTO, SOON, reaches
from tests.support.log_lines import Line, named, objects
from tests.support.moto_server import CREDENTIALS, Inbox, running_moto
from tests.support.receiver import SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import Client, Service, running_service, until
from tests.support.service_processes import (
    ApiProcess,
    ConsumeProcess,
    ServiceProcess,
    WorkerProcess,
    client_of,
)
from tests.support.sqs import record
from tests.support.stack import BUCKET, EVENTS_TOKEN, Stack

CHANGES = """
import asyncio, pathlib, runpy, sys
from shared import broker
make = broker.make_celery
def make_celery(*arguments):
    app = make(*arguments)
    app.conf.broker_transport_options["socket_timeout"] = 2
    return app
broker.make_celery = make_celery
from shared import outages, storage
outages.LINE_EVERY_S = outages.QUIET_S = 2.0
outages.TICK_S = 0.2
def gated(function):
    async def wait(*arguments, **more):
        while pathlib.Path({gate!r}).exists():
            await asyncio.sleep(0.05)
        return await function(*arguments, **more)
    return wait
storage.Storage.copy = gated(storage.Storage.copy)
from worker import pipeline
pipeline.process = gated(pipeline.process)
from worker.queue import consumer
consumer.WAIT_S = 1
from api.temp_urls import copying
copying.MAX_COPIED_AT_ONCE = 100_000
sys.argv[1:] = {arguments!r}
runpy.run_module({module!r}, run_name="__main__")
"""
"""Code that runs a process of the service with shorter times.

An outage is logged every 2 s, and the broker's timeout is 2 s. While the file `gate` exists, the
process makes no progress with copies and uploads.
"""

SMALL, LARGE = PHOTO[:50_000], PHOTO
"""The contents of two objects that are copied.

The API of this site copies the small object itself. A worker copies the large object.
"""


@dataclass(kw_only=True)
class Site:
    """The processes and their servers.

    `service` is an API inside the test's process that uses the same servers.
    """

    service: Service
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    seaweedfs: EmbeddedSeaweedFS
    inbox: Inbox
    receiver: Receiver
    gate: Path
    api: ApiProcess
    worker: WorkerProcess
    consumer: ServiceProcess
    key: str = ""
    first_lines: dict[ServiceProcess, list[Line]] = field(default_factory=dict)
    delivering: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _events: int = 0
    _read: dict[ServiceProcess, int] = field(default_factory=dict)

    @property
    def processes(self) -> Sequence[ServiceProcess]:
        """Return the API process, the worker and the consumer."""
        return (self.api, self.worker, self.consumer)

    @property
    def client(self) -> Client:
        """Return a client of the API process."""
        return client_of(self.service, self.api)

    def new_lines(self, process: ServiceProcess) -> list[Line]:
        """Return the log lines that a process has written since the last call of `mark`."""
        return objects(process.log())[self._read.get(process, 0) :]

    def mark(self) -> None:
        """Remember where each log ends; `new_lines` returns only later lines."""
        self._read = {each: len(objects(each.log())) for each in self.processes}

    async def hold_delivery(self, _request: web.Request) -> web.StreamResponse:
        """Answer a webhook's delivery, but not before the test has called `let_work_end`."""
        self.delivering.set()
        await self.released.wait()
        return web.Response(status=204)

    async def begin_work(self) -> "asyncio.Task[Any]":
        """Begin an upload, two copies and a delivery. `let_work_end` lets them end.

        Return the task that requests one of the copies.
        """
        self.released.clear()
        self.delivering.clear()
        await self.client.upload(b"text", "a.txt")
        await self.delivering.wait()
        self.gate.touch()
        upload = await self.client.upload(PHOTO, "img.jpg")
        large = await self.client.create("large.jpg", temp_url=self.source("large.jpg"))
        small = asyncio.create_task(
            self.client.request("POST", "/api/v2/attachments", self.copy_of("small.jpg"))
        )
        await reaches(self.service, upload, "processing")

        async def copying() -> bool:
            claimed = await self.service.database.fetchval(
                "SELECT count(*) FROM attachments"
                f" WHERE id >= $1 AND copy_attempt % {COPY_ATTEMPTS} = 1",
                int(large["data"]["id"]),
            )
            return bool(claimed == 2)

        await until(copying, within_s=30)
        return small

    def let_work_end(self) -> None:
        """Let the waiting copies, attempts and deliveries continue."""
        self.gate.unlink()
        self.released.set()

    def source(self, name: str) -> str:
        """Return the address of the source object with this name."""
        return f"{self.service.settings.upload_url}/uploads/{name}"

    def copy_of(self, name: str) -> Any:
        """Return a create request's document for a copy of the source object with this name."""
        attributes = {"name": name, "temp_url": self.source(name)}
        return {"data": {"type": "attachments", "attributes": attributes}}

    def event(self) -> str:
        """Return an S3 message with a new event about an object that does not exist."""
        self._events += 1
        number = self._events
        new = record(BUCKET, self.key, sequencer=f"{number:08X}", etag=f"e{number}")
        return json.dumps({"Records": [new]})

    async def use_everything(self) -> None:
        """Make every process use every server; the answers do not matter."""
        headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
        request = self.client.request
        await asyncio.gather(
            request("GET", "/api/v2/attachments"),
            request("POST", "/api/v2/attachments", self.copy_of("small.jpg")),
            request("POST", "/events/s3", body=self.event().encode(), headers=headers),
            self.inbox.send(self.event()),
        )

    async def health(self, process: ServiceProcess, kind: str) -> int:
        """Return the HTTP status of a process's `/health/live` or `/health/ready`."""
        (line,) = named(process.log(), "metrics are served")
        url = str(line["url"]).replace("/metrics", f"/health/{kind}")
        async with self.client.session.get(url) as answer:
            return answer.status

    async def recovered(self) -> None:
        """Wait until every process reports that it is ready."""

        async def all_ready() -> bool:
            return {await self.health(each, "ready") for each in self.processes} == {200}

        await until(all_ready, within_s=30)


@asynccontextmanager
async def running_site(stack: Stack, folder: Path) -> AsyncIterator[Site]:
    """Start the processes of a site while its servers are stopped, and yield the site."""
    async with AsyncExitStack() as exits:
        postgres = EmbeddedPostgres(directory=folder / "postgres")
        valkey = EmbeddedValkey(directory=folder / "valkey")
        seaweedfs = EmbeddedSeaweedFS(
            directory=folder / "store",
            bucket=BUCKET,
            access_key_id=stack.seaweedfs.access_key_id,
            secret_access_key=stack.seaweedfs.secret_access_key,
            webhook=Webhook(url=stack.relay.url, token="unused-by-the-relay"),
        )
        servers = (postgres, valkey, seaweedfs)
        for server in servers:
            exits.callback(server.kill)
        starting = asyncio.gather(*(server.start() for server in servers))
        moto = await exits.enter_async_context(running_moto())
        receiver = await exits.enter_async_context(running_receiver())
        await starting
        await asyncio.to_thread(migrate, postgres.url)
        inbox = await moto.make_inbox()
        settings = {
            "broker_url": valkey.url,
            "s3_endpoint_url": seaweedfs.url,
            "sqs_queue_url": inbox.url,
            "publish_grace": "1",
            **SETTINGS,
        }
        service = await exits.enter_async_context(running_service(stack, postgres.url, **settings))
        gate = folder / "gate"

        def program(module: str, *arguments: str) -> Sequence[str]:
            return "-c", CHANGES.format(module=module, arguments=arguments, gate=str(gate))

        environment = service.environment
        site = Site(
            service=service,
            postgres=postgres,
            valkey=valkey,
            seaweedfs=seaweedfs,
            inbox=inbox,
            receiver=receiver,
            gate=gate,
            api=ApiProcess(environment, program=program("api")),
            worker=WorkerProcess(environment, program=program("worker"), **SOON),
            consumer=ConsumeProcess(
                {**environment, **CREDENTIALS}, program=program("deploy.cli", "consume")
            ),
        )
        await _prepare(site)
        for process in site.processes:
            exits.callback(process.close)
        await postgres.stop()
        valkey.kill()
        seaweedfs.kill()
        await asyncio.gather(*(process.start() for process in site.processes))
        yield site


async def _prepare(site: Site) -> None:
    """Claim the bucket, store the sources of copies, and register a webhook."""
    created = await site.service.client.create("events.jpg")
    site.key = (await site.service.row(created["data"]["id"])).key
    await make_webhook(site.service.client, site.receiver)
    site.receiver.answer = site.hold_delivery
    site.released.set()  # deliveries are answered at once until a test holds one
    async with AsyncExitStack() as exits:
        with mock.patch.dict(os.environ, site.service.environment):
            storage = await exits.enter_async_context(open_storage(site.service.settings))
            await storage.credentials()
        database = await exits.enter_async_context(open_database(site.service.settings))
        await claim_bucket(database, storage)
        for name, content in (("small.jpg", SMALL), ("large.jpg", LARGE)):
            await storage.write(f"uploads/{name}", content, content_type="image/jpeg")
