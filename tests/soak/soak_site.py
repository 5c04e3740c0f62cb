"""The processes of a soak test: the real servers, two APIs and two workers.

A server or process that ends is restarted.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg

from deploy.embedded.ports import choose_port
from deploy.processes.supervisor import Supervisor
from shared.organizations import create_organization
from shared.schema import migrate
from shared.storage import Storage
from shared.tokens import create_token
from tests.soak.hooks import ENVIRONMENT, Receivers, running_receivers
from tests.soak.plan import Odds
from tests.soak.relay import SoakRelay
from tests.soak.restarted import Kept, Module, make_api, make_worker
from tests.support.objects import opened_storage
from tests.support.service import Client
from tests.support.stack import Stack

DATABASE = "soak"
TIMEOUT_S = 15.0
GRACE_S = 12.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The numbers of APIs, workers and organizations, and the lifetime of a policy."""

    apis: int = 2
    workers: int = 2
    organizations: int = 5
    policy_ttl_s: int = 120


@dataclass(kw_only=True)
class Site:
    """The running parts of a soak test.

    `clients` has a list for each organization, with one client for each API.
    """

    folder: Path
    scale: Scale
    environment: Mapping[str, str]
    stack: Stack
    relay: SoakRelay
    database: "asyncpg.Pool[asyncpg.Record]"
    storage: Storage
    session: aiohttp.ClientSession
    clients: list[list[Client]]
    kept: dict[str, Kept]
    apis: list[Kept]
    workers: list[Kept]
    modules: dict[str, Module]
    receivers: Receivers
    reports: list[str] = field(default_factory=list)


@asynccontextmanager
async def running_site(folder: Path, *, seed: int, odds: Odds, scale: Scale) -> AsyncIterator[Site]:
    """Start all servers and processes in a folder.

    A process that ends is restarted until the block ends.
    """
    stack = Stack(folder)
    relay = stack.relay = SoakRelay(seed, odds, folder / "events.log")
    reports: list[str] = []
    supervisor = Supervisor(reports.append, lambda: None)
    async with AsyncExitStack() as exits:
        exits.push_async_callback(stack.stop)
        await stack.start()
        servers = [Kept(part) for part in (stack.postgres, stack.valkey, stack.seaweedfs)]
        for server in servers:
            server.adopt()
        environment = stack.environment(await _make_database(stack)) | {
            **ENVIRONMENT,
            "ATTACHMENTS_POLICY_TTL": str(scale.policy_ttl_s),
            "ATTACHMENTS_RETENTION": "0",
            "ATTACHMENTS_DECODERS": "1",
            "ATTACHMENTS_STYLES": "small:200,medium:480",
        }
        ports = [choose_port() for _ in range(scale.apis)]
        apis = [
            make_api(f"api-{number}", port, environment=environment, directory=folder)
            for number, port in enumerate(ports, 1)
        ]
        workers = [
            make_worker(f"worker-{number}", environment=environment, directory=folder)
            for number in range(1, scale.workers + 1)
        ]
        kept = {part.name: part for part in [*servers, *map(Kept, apis), *map(Kept, workers)]}
        for module in (*apis, *workers):
            exits.push_async_callback(kept[module.name].stop, GRACE_S)
        exits.push_async_callback(supervisor.release)
        await asyncio.gather(*(kept[module.name].start() for module in (*apis, *workers)))
        for part in kept.values():
            supervisor.watch(part)
        relay.targets = [f"http://127.0.0.1:{port}" for port in ports]
        session = await exits.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=0),
            )
        )
        database = await exits.enter_async_context(
            asyncpg.create_pool(environment["ATTACHMENTS_DATABASE_URL"], min_size=1, max_size=4)
        )
        clients = await _make_clients(database, session, relay.targets, scale.organizations)
        yield Site(
            folder=folder,
            scale=scale,
            environment=environment,
            stack=stack,
            relay=relay,
            database=database,
            storage=await exits.enter_async_context(opened_storage(stack)),
            session=session,
            clients=clients,
            receivers=await exits.enter_async_context(
                running_receivers(
                    database, [each[0].organization_id for each in clients], seed=seed
                )
            ),
            kept=kept,
            apis=[kept[module.name] for module in apis],
            workers=[kept[module.name] for module in workers],
            modules={module.name: module for module in (*apis, *workers)},
            reports=reports,
        )


async def _make_database(stack: Stack) -> str:
    connection = await asyncpg.connect(stack.postgres.url)
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    url = stack.postgres.database_url(DATABASE)
    await asyncio.to_thread(migrate, url)
    return url


async def _make_clients(
    database: "asyncpg.Pool[asyncpg.Record]",
    session: aiohttp.ClientSession,
    urls: Sequence[str],
    count: int,
) -> list[list[Client]]:
    clients = []
    for number in range(count):
        async with database.acquire() as connection:
            organization_id = await create_organization(connection, f"soak {number}")
            token = await create_token(connection, organization_id, "soak")
        clients.append(
            [
                Client(session=session, base_url=url, organization_id=organization_id, token=token)
                for url in urls
            ]
        )
    return clients
