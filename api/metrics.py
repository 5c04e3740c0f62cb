"""What the API counts, for Prometheus."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import Counter, Histogram, generate_latest

EVENTS = Counter("attachments_events_total", "Events by dialect and effect", ["dialect", "effect"])
"""Effects are those of `shared.intake.effects`; of SNS also `refused`, whole messages."""

REQUESTS = Histogram(
    "attachments_request_seconds",
    "Requests by route, method and status",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time every request under its route's pattern, never under what a client sent."""
    started = time.perf_counter()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    REQUESTS.labels(route, request.method, response.status).observe(time.perf_counter() - started)
    return response


async def metrics(_request: web.Request) -> web.Response:
    """GET /metrics."""
    return web.Response(
        body=generate_latest(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )
