"""Assemble the API's application: its parts, middleware and routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

from api import (
    attachments,
    client_files,
    events,
    files,
    issuing,
    tickets,
    usage,
)
from api.access import EventsGate, open_gate
from api.connection import MAX_LINE
from api.cors import share_with_pages
from api.draining import Drain
from api.event_groups import EventGroups
from api.ids import IdCheck
from api.noise import open_noise
from api.openapi import served
from api.parts import PARTS, Parts
from api.problems import answer_errors, general, unavailable
from api.readers import Readers
from api.request_keys import RequestKeys
from api.server import Runner
from api.sns import open_sns
from api.temp_urls.copying import open_copies
from api.temp_urls.sources import open_lookups
from api.waiters import Waiters
from api.walks import Walks
from api.webhooks import deliveries as webhook_deliveries
from api.webhooks import routes as webhook_routes
from shared import writing
from shared.allowance import Allowance
from shared.backlog import BacklogWatch
from shared.bucket_guard import BucketGuard
from shared.bucket_owner import read_marker
from shared.deployment import open_publisher
from shared.documents import Documents
from shared.liveness import Health, reads
from shared.metrics_address import open_metrics
from shared.quotas import Quotas
from shared.settings import Settings
from shared.shares import open_shares, share_of_others, split_pool
from shared.store_client import open_storage
from shared.turns import Turns


def create_app(
    settings: Settings,
    *,
    sns_connector: aiohttp.BaseConnector | None = None,
    health: Health | None = None,
) -> web.Application:
    """Make the application. Its parts are opened when it starts and closed when it ends.

    The application starts even if PostgreSQL, the broker or the store cannot be reached. At the
    start, the caller must check the bucket's owner (`shared.bucket_guard`) and the ids of its
    objects (`api.ids`). `sns_connector` replaces the usual connector to SNS, for example to use a
    proxy. The metrics address shows `health`. When the start is complete, the caller sets
    `health.step` to None.
    """
    seen = Health() if health is None else health
    app = web.Application(
        # `share_with_pages` needs the route of a request, so it is a middleware. It must add CORS
        # headers to error documents too, so `answer_errors` runs inside it. Everything else that
        # each request needs is in `api.server`.
        middlewares=[share_with_pages, answer_errors] if settings.origins else [],
        client_max_size=attachments.MAX_BULK_BYTES,
        handler_args={
            "keepalive_timeout": settings.keep_alive,
            "lingering_time": 2,
            "access_log": None,
            "auto_decompress": False,
            "max_line_size": MAX_LINE,
        },
    )

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app[PARTS] = await _open_parts(stack, settings, seen, sns_connector)
            yield

    async def answer_waiters(app: web.Application) -> None:
        app[PARTS].waiters.end()

    app.cleanup_ctx.append(parts)
    app.on_shutdown.append(answer_waiters)
    app.router.add_routes(routes())
    return app


async def _open_parts(
    stack: AsyncExitStack,
    settings: Settings,
    health: Health,
    sns_connector: aiohttp.BaseConnector | None,
) -> Parts:
    """Open the parts of an application. `stack` closes them in reverse order."""
    noise, backlog = await stack.enter_async_context(open_noise()), BacklogWatch()
    clients, others = await stack.enter_async_context(open_shares(settings))
    storage = await stack.enter_async_context(open_storage(settings))
    publisher = await stack.enter_async_context(open_publisher(others.of("events"), settings))
    for pool in (clients, others):
        pool.whole.on_queued = publisher.wake_couriers
    waiters = Waiters(others.of("waiters"))
    parts = Parts(
        settings=settings,
        health=others.of("health"),
        clients=clients,
        quotas=Quotas.of_settings(settings),
        walks=Walks(),
        readers=Readers(),
        copies=open_copies(),
        lookups=open_lookups(),
        links=files.open_links(settings),
        storage=storage,
        publisher=publisher,
        noise=noise,
        allowance=Allowance(),
        waiters=waiters,
        request_keys=RequestKeys(),
        gate=await stack.enter_async_context(open_gate(others.of("tokens"), settings, waiters)),
        events_gate=EventsGate(settings),
        event_groups=EventGroups(
            others.of("events"),
            settings,
            concurrent=share_of_others(split_pool(settings.database_pool)[1]),
        ),
        strangers=asyncio.Semaphore(events.MAX_STRANGERS),
        strange_readers=Turns(1, each=1, waiting=events.MAX_STRANGERS, wait_s=1),
        sns=await stack.enter_async_context(open_sns(settings, sns_connector)),
        documents=Documents(settings),
        metrics_url=await stack.enter_async_context(open_metrics(settings, "api", health, backlog)),
        ids=IdCheck(others.of("ids"), storage),
        bucket=BucketGuard(others.of("ids"), storage),
        drain=Drain(),
    )
    watch_parts(health, parts)
    await stack.enter_async_context(backlog.watching(others.of("backlog")))
    return parts


def watch_parts(health: Health, parts: Parts) -> None:
    """Let the metrics address show whether this API is ready, and the faults of its parts."""

    async def writes() -> str | None:
        await writing.require(parts.health, parts.clients.whole.full)
        return None

    async def serves() -> str | None:
        if parts.drain.begun:
            return "the process is stopping"
        unusable = parts.bucket.foreign or parts.ids.taken
        return None if unusable is None else str(unusable)

    health.need("database", writes)
    health.need("api", serves)
    health.use("store", reads(lambda: read_marker(parts.storage)))
    health.use("broker", parts.publisher.fault)


def make_runner(app: web.Application, *, grace_s: float) -> Runner:
    """Make the runner of an application.

    When it stops, running requests have `grace_s` seconds to end.
    """
    return Runner(app, handle_signals=False, access_log=None, shutdown_timeout=grace_s)


async def health_live(_request: web.Request) -> web.Response:
    """Answer GET /health/live: 200, because this process is alive."""
    return web.json_response({"status": "alive"})


async def health_ready(request: web.Request) -> web.Response:
    """Answer GET /health/ready: 200 if this process can write rows and create attachments.

    Otherwise the answer is 503. It is also 503 after SIGTERM, so that load balancers send no more
    requests.
    """
    parts = request.app[PARTS]
    if parts.drain.begun:
        raise unavailable()
    await writing.require(parts.health, parts.clients.whole.full)
    if parts.bucket.foreign is not None:
        raise general(503, str(parts.bucket.foreign), headers={"Retry-After": "30"})
    parts.ids.require_free_showing_why()
    return web.json_response({"status": "ready"})


def routes() -> list[web.RouteDef]:
    """Return the routes. Each has a second address with a slash at its end."""
    usual = [
        web.get("/api/v2/attachments", attachments.index),
        web.post("/api/v2/attachments", attachments.create),
        web.get("/api/v2/attachments/{id}", attachments.show),
        web.patch("/api/v2/attachments/{id}", attachments.update),
        web.delete("/api/v2/attachments/{id}", attachments.delete),
        web.post("/api/v2/attachments/{id}/aws_policy", issuing.renew),
        web.get("/api/v2/usage", usage.show),
        *webhook_routes.ROUTES,
        *webhook_deliveries.ROUTES,
        web.post("/events/s3", events.intake),
        web.post("/events/s3/{token}", events.intake),
        web.get("/attachments/files/{tail:.*[^/]}", files.redirect),
        web.get("/attachments/status/{id}", tickets.show),
        web.get("/client/{name}", client_files.show),
        web.get("/health/live", health_live),
        web.get("/health/ready", health_ready),
        # haproxy's health checks use OPTIONS unless another method is configured.
        web.options("/health/live", health_live),
        web.options("/health/ready", health_ready),
        *served.ROUTES,
    ]
    # aiohttp searches routes in their order. Routes with a slash at the end come last, because few
    # requests use them.
    slashed = [
        web.RouteDef(each.method, f"{each.path}/", each.handler, each.kwargs) for each in usual
    ]
    return [*usual, *slashed]
