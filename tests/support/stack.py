"""PostgreSQL, Valkey and SeaweedFS, which one run of the tests starts once and shares."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS, Webhook
from deploy.embedded.valkey import EmbeddedValkey
from shared.broker import queue_name

EVENTS_TOKEN = "events-token-of-the-tests"
BUCKET = "attachments-test"
QUEUE_PREFIX = "tests:"


class EventRelay:
    """A relay that passes the store's events to the API under test, or loses them.

    `target` is the address of the API; while `target` is None, events are lost. `seen` holds the
    body of every event.
    """

    def __init__(self) -> None:
        self.target: str | None = None
        self.token = EVENTS_TOKEN
        self.seen: list[dict[str, Any]] = []
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port."""
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/events", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/events"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(json.loads(body))
        if self.target is not None:
            await self.post(body)
        return web.Response()

    async def post(self, body: bytes) -> int:
        """Post a body to the API under test as the store would.

        Return the status of the answer, or 0 if the API does not run.
        """
        assert self._session is not None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"{self.target}/events/s3", data=body, headers=headers
            ) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0


class Stack:
    """The servers that tests share, and the event relay.

    The servers' data is in `folder`. If `memory` is given, PostgreSQL's data is there.
    """

    def __init__(self, folder: Path, memory: Path | None = None) -> None:
        self.relay = EventRelay()
        databases = _made((memory or folder) / "postgres")
        self.postgres = EmbeddedPostgres(directory=databases, durable=False)
        self.valkey = EmbeddedValkey(directory=_made(folder / "valkey"))
        self._seaweedfs_folder = _made(folder / "seaweedfs")
        self.seaweedfs: EmbeddedSeaweedFS
        self._admin: asyncpg.Connection[asyncpg.Record] | None = None

    @property
    def admin(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return the connection that creates and drops databases."""
        assert self._admin is not None
        return self._admin

    async def start(self) -> None:
        """Start all servers in parallel."""
        await self.relay.start()
        self.seaweedfs = EmbeddedSeaweedFS(
            directory=self._seaweedfs_folder,
            bucket=BUCKET,
            webhook=Webhook(url=self.relay.url, token="unused-by-the-relay"),
        )
        await asyncio.gather(self.postgres.start(), self.valkey.start(), self.seaweedfs.start())
        await self._shorten_logins()

    async def _shorten_logins(self) -> None:
        """Hash PostgreSQL's password with 1 iteration instead of 4,096, because tests log in
        thousands of times.
        """
        self._admin = await asyncpg.connect(self.postgres.url)
        await self.admin.execute("SET scram_iterations = 1")
        await self.admin.execute(f"ALTER ROLE attachments PASSWORD '{self.postgres.password}'")

    async def stop(self) -> None:
        """Stop all servers."""
        if self._admin is not None:
            self._admin.terminate()
        await asyncio.gather(self.postgres.stop(), self.valkey.stop(), self.seaweedfs.stop())
        await self.relay.stop()

    def environment(self, database_url: str) -> dict[str, str]:
        """Return the settings of a service process that uses these servers."""
        return {
            "ATTACHMENTS_DATABASE_URL": database_url,
            "ATTACHMENTS_BROKER_URL": self.valkey.url,
            "ATTACHMENTS_QUEUE_PREFIX": QUEUE_PREFIX,
            "ATTACHMENTS_S3_BUCKET": BUCKET,
            "ATTACHMENTS_S3_REGION": self.seaweedfs.region,
            "ATTACHMENTS_S3_ENDPOINT_URL": self.seaweedfs.url,
            "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
            "ATTACHMENTS_EVENTS_TOKENS": EVENTS_TOKEN,
            "ATTACHMENTS_LOG_FORMAT": "json",
            "ATTACHMENTS_METRICS_PORT": "0",
            "ATTACHMENTS_DECODERS": "2",
            "AWS_ACCESS_KEY_ID": self.seaweedfs.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.seaweedfs.secret_access_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def queue_key(organization_id: int) -> str:
    """Return the broker's key for an organization's queue, with the prefix that all tests use."""
    return f"{QUEUE_PREFIX}{queue_name(organization_id)}"


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    return folder


@asynccontextmanager
async def running_stack(folder: Path, memory: Path | None = None) -> AsyncIterator[Stack]:
    """Start the servers with their data in these folders, and stop them at the end."""
    stack = Stack(folder, memory)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()
