"""The service under test: an API on a real port, with the functions that clients use."""

import asyncio
import io
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest import mock

import aiohttp
import asyncpg
from aiohttp import web
from aiohttp.web_app import _cached_build_middleware
from prometheus_client import generate_latest
from yarl import URL

from api.app import create_app, make_runner
from api.parts import PARTS
from api.waiters import Waiters
from shared.attachments import Attachment, find_any
from shared.organizations import create_organization
from shared.settings import Settings
from shared.shares import Shares
from shared.tokens import create_token
from tests.support.described import check_answer
from tests.support.stack import Stack

T = TypeVar("T")

MEDIA_TYPE = "application/vnd.api+json"
LONGEST_PAUSE_S = 0.2
"""The longest time between two calls of a condition in `until`, unless a test asks for more."""

FINAL_STATES = ("ready", "rejected", "failed", "expired")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response of the API; `document` is its JSON, or None if the body is empty or not JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any

    @property
    def data(self) -> Any:
        """Return the primary data of the JSON:API document."""
        return self.document["data"]


@dataclass(kw_only=True)
class Client:
    """A caller of the API: an organization and its token."""

    session: aiohttp.ClientSession
    base_url: str
    organization_id: int
    token: str = field(repr=False)

    async def request(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request with the client's token, and check the answer against the OpenAPI
        document.

        `path` is sent unchanged, without encoding. `headers` replace the default header fields; an
        empty value removes a field.
        """
        sent = {"X-Auth-Token": self.token, "X-Organization-Id": str(self.organization_id)}
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            sent["Content-Type"] = MEDIA_TYPE
        sent.update(headers or {})
        url = URL(f"{self.base_url}{path}", encoded=True)
        async with self.session.request(
            method,
            url,
            data=body,
            headers={name: value for name, value in sent.items() if value},
            skip_auto_headers=("Content-Type", "Accept"),
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
        is_json = content and "json" in answer.headers.get("Content-Type", "")
        found = json.loads(content) if is_json else None
        check_answer(method, path, answer.status, answer.headers, found)
        return Answer(status=answer.status, headers=answer.headers, body=content, document=found)

    async def create(self, name: str = "img.png", **attributes: Any) -> Any:
        """Create an attachment, and return the whole answer document."""
        answer = await self.request(
            "POST",
            "/api/v2/attachments",
            {"data": {"type": "attachments", "attributes": {"name": name, **attributes}}},
        )
        assert answer.status == 201, answer.body
        return answer.document

    async def show(self, attachment_id: str | int) -> Any:
        """Return the resource of an attachment."""
        answer = await self.request("GET", f"/api/v2/attachments/{attachment_id}")
        assert answer.status == 200, answer.body
        return answer.data

    async def post_file(
        self, created: Any, content: bytes, *, changed: Mapping[str, str | None] | None = None
    ) -> tuple[int, str]:
        """Post a file to the store with an attachment's policy.

        `changed` holds new values of form fields; None removes a field.

        Return the store's status and body.
        """
        fields = {**created["data"]["attributes"]["aws_policy"], **(changed or {})}
        form = aiohttp.FormData()
        for name, value in fields.items():
            if value is not None:
                form.add_field(name, value)
        form.add_field("file", io.BytesIO(content), filename="any name")
        async with self.session.post(created["meta"]["upload_url"], data=form) as answer:
            return answer.status, await answer.text()

    async def upload(self, content: bytes, name: str = "img.png", **attributes: Any) -> str:
        """Create an attachment, post its file, and return its id."""
        created = await self.create(name, **attributes)
        status, body = await self.post_file(created, content)
        assert status == 201, body
        return str(created["data"]["id"])

    async def settled(self, attachment_id: str | int, *, within_s: float = 30) -> Any:
        """Wait until an attachment is settled, and return its resource."""

        async def final() -> Any:
            resource = await self.show(attachment_id)
            return resource if resource["meta"]["state"] in FINAL_STATES else None

        return await until(final, within_s=within_s)


async def until(
    condition: Callable[[], Awaitable[Any]], *, within_s: float = 10, every_s: float = 0.05
) -> Any:
    """Wait until a condition returns a true value, and return this value.

    The condition is called every `every_s` seconds at first, and less often in a long wait, because
    a call such as a request costs milliseconds of CPU time. The assertion fails after `within_s`
    seconds.
    """
    began = time.monotonic()
    while not (result := await condition()):
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"not within {within_s} s"
        await asyncio.sleep(max(every_s, min(waited_s / 20, LONGEST_PAUSE_S)))
    return result


async def some_at_once(work: Iterable[Coroutine[Any, Any, T]], at_once: int = 16) -> list[T]:
    """Run all of `work`, at most `at_once` coroutines at a time, and return their results.

    With more requests of one organization at once, a busy machine answers some of them with 429.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(each: Coroutine[Any, Any, T]) -> T:
        async with slots:
            return await each

    return await asyncio.gather(*(one(each) for each in work))


@dataclass(kw_only=True)
class Service:
    """An API that runs in the test's process, with its own port and database."""

    stack: Stack
    settings: Settings
    environment: dict[str, str]
    database: "asyncpg.Pool[asyncpg.Record]"
    client: Client
    base_url: str
    metrics_url: str
    waiters: Waiters
    clients: Shares
    worker_pids: list[int] = field(default_factory=list)
    """The ids of the worker processes that fixtures have started for the service."""

    def metrics(self) -> str:
        """Return the current metrics of this process, in which the API runs.

        The values of a scrape may be 1 s old, but these are not.
        """
        return generate_latest().decode()

    async def organization(self, name: str = "another") -> Client:
        """Create another organization with a token, and return a client for it."""
        async with self.database.acquire() as connection:
            organization_id = await create_organization(connection, name)
            token = await create_token(connection, organization_id, "test")
        return Client(
            session=self.client.session,
            base_url=self.base_url,
            organization_id=organization_id,
            token=token,
        )

    async def row(self, attachment_id: str | int) -> Attachment:
        """Return an attachment's row."""
        async with self.database.acquire() as connection:
            found = await find_any(connection, int(attachment_id))
        assert found is not None
        return found

    async def execute(self, statement: str, *values: Any) -> str:
        """Run an SQL statement for a change that no client can make."""
        return await self.database.execute(statement, *values)


async def scrape(url: str) -> str:
    """Scrape the metrics of a process as Prometheus does."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


def make_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the service reads from the given environment variables."""
    with mock.patch.dict(os.environ, environment):
        return Settings()


@asynccontextmanager
async def running_service(
    stack: Stack,
    database_url: str,
    sns_connector: aiohttp.BaseConnector | None = None,
    /,
    **overrides: str,
) -> AsyncIterator[Service]:
    """Run an API on a migrated database. `overrides` are settings by their names in lower case.

    The API receives the store's events. `sns_connector` is the connector for requests to SNS.
    """
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    environment = {**stack.environment(database_url), **changes}
    # Log lines for each request would only make the report of a failed test longer.
    settings = make_settings({"ATTACHMENTS_LOG_REQUESTS": "false", **environment})
    app = create_app(settings, sns_connector=sns_connector)
    runner = make_runner(app, grace_s=1)
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=4)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
    before = stack.relay.target
    try:
        async with pool.acquire() as connection:
            organization_id = await create_organization(connection, "tests")
            token = await create_token(connection, organization_id, "test")
        with mock.patch.dict(os.environ, environment):
            await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        stack.relay.target = base_url
        client = Client(
            session=session, base_url=base_url, organization_id=organization_id, token=token
        )
        yield Service(
            stack=stack,
            settings=settings,
            environment=environment,
            database=pool,
            client=client,
            base_url=base_url,
            metrics_url=app[PARTS].metrics_url or "",
            waiters=app[PARTS].waiters,
            clients=app[PARTS].clients,
        )
    finally:
        stack.relay.target = before
        await runner.cleanup()
        await session.close()
        await pool.close()
        # aiohttp caches the handlers of the last 1,024 routes. Each API in this cache holds 12 MB
        # of memory. `_cached_build_middleware` is private in aiohttp, which has no other way to
        # empty this cache.
        _cached_build_middleware.cache_clear()
