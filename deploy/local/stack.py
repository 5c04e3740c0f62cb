"""A local stack: its parts, and the order in which they start and stop.

Some modules take long to import, and only the start needs them. They are imported while the
servers start.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg

from deploy.embedded.ports import HOST
from deploy.embedded.seaweedfs import Webhook
from deploy.local.bucket import check_bucket
from deploy.local.data_dir import Kept
from deploy.local.plan import (
    METRICS_PORTS,
    PAGE_PORT,
    Servers,
    plan_environment,
    plan_servers,
)
from deploy.local.services import Check, Service, always, answers, is_consumed, is_reachable
from deploy.local.upload_page import UploadPage
from deploy.processes.supervisor import Part, StartFailed, WriteLine, together
from shared import organizations, tokens
from shared.broker_faults import server_of
from shared.connector import Connector
from shared.errors import ObjectMissing, StoreError
from shared.listening import reached_at
from shared.log import configure_logging
from shared.refusals import explain
from shared.settings import Settings, load_settings, split_words
from shared.signing import Credentials

ORGANIZATION_ID = 1
SERVICES_STOP_S = 7.0  # longer than a worker waits for uploads in progress: 6 s
SERVERS_STOP_S = 2.0
RETRY_S = 0.1
ELSEWHERE_S = 10.0
READINESS_KEY = "attachments/files/.readiness"


@dataclass(kw_only=True)
class Stack:
    """Everything that `attachments up` runs."""

    servers: Servers
    api: Service
    worker: Service
    consume: Service | None
    settings: Settings
    api_url: str
    token: str
    page_port: int
    renew_token: Callable[[], str]
    mend: bool = False
    credentials: Credentials | None = None

    @property
    def parts(self) -> list[Part]:
        """All servers and processes, the servers first."""
        return [*self.servers.all(), *self.services]

    @property
    def services(self) -> list[Service]:
        """The service's own processes: the API, the worker and, if a queue is set, the consumer."""
        return [self.api, self.worker, *([] if self.consume is None else [self.consume])]

    async def start(self) -> None:
        """Start all parts, in parallel where possible; return when all of them answer.

        Raises StartFailed. Then call `stop`, because some parts may be running.
        """
        servers = together(self._start_worker(), self._start_store())
        postgres = self.servers.postgres
        # Mend before the API starts, because the API does not start if ids are taken. A new
        # database has no tables yet, and the API would log that.
        if self.mend or (postgres is not None and postgres.is_new):
            await servers
            await check_bucket(self.settings, mend=self.mend)
            await self.api.start()
        else:
            await together(servers, self.api.start())
            await check_bucket(self.settings, mend=False)
        ready = f"{self.api_url}/health/ready"
        await _until(lambda: answers(ready), f"the database from the API at {self.api_url}")

    async def _start_worker(self) -> None:
        await together(self._start_database(), self._start_broker())
        await together(*(each.start() for each in self.services if each is not self.api))

    async def _start_broker(self) -> None:
        if self.servers.valkey is not None:
            await self.servers.valkey.start()
        url = self.settings.broker_url.get_secret_value()
        broker = f"ATTACHMENTS_BROKER_URL: the broker at {server_of(url)}"
        await _until(lambda: is_reachable(url), broker)

    async def _start_database(self) -> None:
        loading = asyncio.create_task(asyncio.to_thread(import_module, "shared.schema"))
        if self.servers.postgres is not None:
            await self.servers.postgres.start()
        # Log only errors here. A warning about ignored parameters of the database's address would
        # be repeated: the API logs it too when it connects.
        configure_logging("error", self.settings.log_format)
        connector = Connector(self.settings.database_url.get_secret_value())
        await _until_connected(connector)
        await loading
        await asyncio.to_thread(_migrate, self.settings)
        connection = await connector.connect()
        try:
            await organizations.create_organization(connection, "local", ORGANIZATION_ID)
            if await tokens.has_ended(connection, self.token):
                self.token = self.renew_token()
            await tokens.create_token(
                connection, ORGANIZATION_ID, "attachments up", token=self.token
            )
        finally:
            await connection.close()

    async def _start_store(self) -> None:
        if self.servers.seaweedfs is not None:
            await self.servers.seaweedfs.start()
        from shared.store_client import open_storage

        async with open_storage(self.settings) as storage:
            try:
                self.credentials = await storage.credentials()
                await storage.head(READINESS_KEY)
            except ObjectMissing:
                pass
            except StoreError as error:
                raise StartFailed(
                    f"the store of ATTACHMENTS_S3_BUCKET at {self.settings.store.url} cannot be"
                    f" used: {error}"
                ) from error

    async def stop(self) -> None:
        """Stop all parts: first the service's processes, then the servers. Takes at most 10 s."""
        await asyncio.gather(*(each.stop(SERVICES_STOP_S) for each in self.services))
        await asyncio.gather(*(each.stop(SERVERS_STOP_S) for each in self.servers.all()))

    def kill(self) -> None:
        """Kill all parts at once, without a clean end."""
        for part in self.parts:
            if part.child is not None:
                part.child.kill()

    @cached_property
    def page(self) -> UploadPage:
        """The page to try uploads. It is made at the first use, after the stack has started."""
        settings = self.settings
        return UploadPage(
            port=self.page_port,
            api_url=self.api_url,
            links=(settings.upload_url, settings.api_url, settings.files_url),
            token=self.token,
            organization_id=ORGANIZATION_ID,
        )

    def document(self) -> dict[str, Any]:
        """Return the content of the ready file: what clients and tests need to use the stack."""
        assert self.credentials is not None
        settings = self.settings
        return {
            "api_url": self.api_url,
            "token": self.token,
            "organization_id": ORGANIZATION_ID,
            "bucket": settings.s3_bucket,
            "s3_endpoint_url": settings.s3_endpoint_url,
            "s3_access_key_id": self.credentials.access_key,
            "s3_secret_access_key": self.credentials.secret_key,
            "s3_region": settings.store.region,
            "upload_url": settings.upload_url,
            "upload_page_url": self.page.url,
            "events_url": f"{self.api_url}/events/s3",
            "events_token": settings.events_tokens[0].get_secret_value(),
            "database_url": settings.database_url.get_secret_value(),
            "broker_url": settings.broker_url.get_secret_value(),
            "metrics_urls": {each.name: _metrics_url(each.env) for each in self.services},
            "pids": {part.name: part.child.pid for part in self.parts if part.child is not None},
        }


def build_stack(
    directory: Path,
    kept: Kept,
    own: Mapping[str, str],
    write_line: WriteLine,
    renew_token: Callable[[], str],
    *,
    mend: bool = False,
) -> Stack:
    """Make a stack from the kept secrets and ports, and from the environment of this process.

    Replaces the environment of this process by the environment of the API and the worker. `own` are
    settings from the command line, which replace all others. With `mend`, the start of the stack
    lets ids continue above those in the store. Raises SettingsError.
    """
    operator = dict(os.environ)
    host = operator.get("ATTACHMENTS_API_HOST") or HOST
    port = kept.ports["api"]
    api_url = f"http://{reached_at(host)}:{port}"
    events_tokens = split_words(operator.get("ATTACHMENTS_EVENTS_TOKENS") or kept.events_token)
    webhook = Webhook(url=f"{api_url}/events/s3", token=events_tokens[0])
    servers = plan_servers(directory, kept, operator, webhook)
    listen = {"ATTACHMENTS_API_HOST": host, "ATTACHMENTS_API_PORT": str(port)}
    if not operator.get("ATTACHMENTS_HOSTS"):
        # Accept these hosts, so that links are complete at the address that `up` prints, even if
        # the API listens on all interfaces.
        local = (f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        listen["ATTACHMENTS_HOSTS"] = ",".join(local)
    if origins := operator.get("ATTACHMENTS_CORS_ORIGINS"):
        # Allow the page for trying uploads to call the API.
        page = f"http://{HOST}:{kept.ports[PAGE_PORT]}"
        listen["ATTACHMENTS_CORS_ORIGINS"] = f"{origins},{page}"
    environment = plan_environment(kept, servers, operator, {**listen, **own})
    os.environ.clear()
    os.environ.update(environment)
    settings = load_settings()

    def service(name: str, ready: Check, alive: Check, **changes: str) -> Service:
        metrics_port = str(kept.ports[METRICS_PORTS[name]])
        env = {**environment, "ATTACHMENTS_METRICS_PORT": metrics_port, **changes}
        return Service(
            name=name, env=env, directory=directory, write_line=write_line, ready=ready, alive=alive
        )

    broker_url = settings.broker_url.get_secret_value()
    # The consumer needs the operator's AWS keys for the queue, even if the store is embedded.
    keys = {name: value for name, value in operator.items() if name.startswith("AWS_") and value}
    return Stack(
        servers=servers,
        api=service(
            "api",
            ready=lambda: answers(f"{api_url}/health/live"),
            alive=lambda: answers(f"{api_url}/health/live"),
        ),
        worker=service("worker", ready=lambda: is_consumed(broker_url), alive=always),
        # The consumer has no check: an unreachable queue must not prevent the stack's start.
        consume=service("consume", always, always, **keys) if settings.sqs_queue_url else None,
        settings=settings,
        api_url=api_url,
        token=kept.token,
        page_port=kept.ports[PAGE_PORT],
        renew_token=renew_token,
        mend=mend,
    )


def _metrics_url(env: Mapping[str, str]) -> str:
    host = reached_at(env.get("ATTACHMENTS_METRICS_HOST") or HOST)
    return f"http://{host}:{env['ATTACHMENTS_METRICS_PORT']}/metrics"


def _migrate(settings: Settings) -> None:
    from shared.database import DatabaseAway
    from shared.role_settings import set_on_role
    from shared.schema import NotMigrated, migrate

    try:
        migrate(settings.session_url)
        asyncio.run(set_on_role(settings.database_url.get_secret_value()))
    except (NotMigrated, DatabaseAway) as error:
        raise StartFailed(f"the database cannot be migrated: {error}") from error


async def _until_connected(connector: Connector) -> None:
    """Wait until the database accepts a connection. Raises StartFailed with the last error."""
    deadline = time.monotonic() + ELSEWHERE_S
    while True:
        try:
            connection = await connector.connect(timeout_s=3)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if time.monotonic() > deadline:
                why = explain(error, connector.server)
                raise StartFailed(f"ATTACHMENTS_DATABASE_URL: {why}") from error
            await asyncio.sleep(RETRY_S)
        else:
            await connection.close()
            return


async def _until(check: Callable[[], Awaitable[bool]], part: str) -> None:
    deadline = time.monotonic() + ELSEWHERE_S
    while not await check():
        if time.monotonic() > deadline:
            raise StartFailed(f"{part} cannot be reached, or refuses us")
        await asyncio.sleep(RETRY_S)
