"""The processes that the benchmarks of webhooks use: an API, a worker, and a receiver."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from shared.webhooks import registry
from shared.webhooks.kinds import EVENTS
from tests.benchmarks.processes import cpu_s, running_module
from tests.benchmarks.site import Site
from tests.support.receiver import SETTINGS
from tests.support.service import Service, running_service, until
from tests.support.service_processes import WorkerProcess

RECEIVER = "tests.benchmarks.hook_receiver"


class Arrival(NamedTuple):
    """One delivery that the receiver got; `at` is the Unix time of its arrival."""

    message_id: str
    kind: str
    happened: str
    at: float


class Bench:
    """The processes of the benchmark, and two organizations: one with a webhook and one without."""

    def __init__(self, service: Service, worker: WorkerProcess, port: int) -> None:
        self.service = service
        self.worker = worker
        self.address = f"http://127.0.0.1:{port}/"

    async def arrivals(self) -> list[Arrival]:
        """Return the deliveries that the receiver got since the last call."""
        async with self.service.client.session.get(self.address) as answer:
            return [Arrival(*each) for each in await answer.json()]

    async def wait_for(self, count: int, *, within_s: float = 120) -> list[Arrival]:
        """Wait until the receiver has got `count` deliveries, and return them."""
        found: list[Arrival] = []

        async def enough() -> bool:
            found.extend(await self.arrivals())
            return len(found) >= count

        await until(enough, within_s=within_s, every_s=0.02)
        return found

    async def make_webhook(self, organization_id: int, url: str) -> int:
        """Create a webhook in the database, without a request to the API."""
        vault = self.service.settings.vault
        assert vault is not None
        values = {"target_url": url, "events": list(EVENTS), "description": None, "active": True}
        async with self.service.database.acquire() as connection:
            made = await registry.create(connection, organization_id, values, vault)
        return made.webhook.id

    async def queue(self, webhook_id: int, organization_id: int, count: int) -> None:
        """Queue `count` deliveries of a test event in one statement."""
        await self.service.execute(
            "INSERT INTO webhook_deliveries (webhook_id, organization_id, message_id, event)"
            " SELECT $1, $2, gen_random_uuid(), 'webhook.test' FROM generate_series(1, $3)",
            webhook_id,
            organization_id,
            count,
        )

    async def queue_ready(self, webhook_id: int, attachment_id: str, count: int) -> None:
        """Queue `count` deliveries of `attachment.ready` with the row of one attachment, in one
        statement.
        """
        await self.service.execute(
            "INSERT INTO webhook_deliveries"
            " (webhook_id, organization_id, message_id, event, attachment_id, attachment)"
            " SELECT $1, a.organization_id, gen_random_uuid(), 'attachment.ready', a.id,"
            " jsonb_strip_nulls(to_jsonb(a))"
            " FROM attachments AS a, generate_series(1, $3) WHERE a.id = $2",
            webhook_id,
            int(attachment_id),
            count,
        )

    def cpu_s(self) -> float:
        """Return the CPU seconds that the worker and PostgreSQL have used so far."""
        process = self.service.stack.postgres.child
        assert process is not None
        return cpu_s(self.worker.pid) + cpu_s(process.pid)


@asynccontextmanager
async def running_bench(site: Site) -> AsyncIterator[Bench]:
    """Start an API, a worker and a receiver that answers in 50 ms."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            running_service(site.stack, site.database_url, **SETTINGS)
        )
        _, port = await stack.enter_async_context(running_module(RECEIVER, "0.05", environment={}))
        bench = Bench(service, WorkerProcess(service.environment), port)
        stack.callback(lambda: bench.worker.close())
        await bench.worker.start()
        yield bench
