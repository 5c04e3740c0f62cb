"""The address at which a process shows its metrics, its health and the backlog to operators.

This address is separate from the public address of the API, so that only operators reach it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from prometheus_client import generate_latest

from shared.backlog import BacklogWatch
from shared.errors import SettingsError
from shared.listening import fault_of, listen_everywhere
from shared.liveness import Health
from shared.log import get_logger
from shared.metrics import ProcessKind, Shown
from shared.scrapes import Page, make_server
from shared.settings import Settings

CACHED_S = 1.0
"""Seconds for which the text of the metrics is reused, because collecting it takes milliseconds of
CPU time."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = get_logger(__name__)


class Scrapes:
    """The text of all metrics of this process. A thread collects it at most once a second."""

    def __init__(self, process: ProcessKind) -> None:
        self._shown = Shown(process)
        self._body = b""
        self._collected_at = -CACHED_S
        self._collecting = asyncio.Lock()

    async def body(self) -> bytes:
        """Return the metrics in Prometheus's text format, at most CACHED_S seconds old."""
        async with self._collecting:
            now = time.monotonic()
            if now - self._collected_at >= CACHED_S:
                self._body = await asyncio.to_thread(generate_latest, self._shown)
                self._collected_at = now
            return self._body


class Pages:
    """The pages that a process serves at its metrics address."""

    def __init__(self, process: ProcessKind, health: Health, backlog: BacklogWatch) -> None:
        self._health = health
        self._backlog = backlog
        self._scrapes = Scrapes(process)

    async def metrics(self) -> Page:
        """Return the metrics."""
        return Page(await self._scrapes.body(), content_type=METRICS_TYPE)

    async def live(self) -> Page:
        """Return whether the process is alive: its loop runs, and its periodic work ran lately."""
        if faults := self._health.faults():
            return _json({"status": "stuck", "faults": faults}, status=503)
        return _json({"status": "alive"})

    async def ready(self) -> Page:
        """Return whether the process is ready, and the answer of each part that it uses."""
        found = await self._health.ask()
        status = 200 if found.status == "ready" else 503
        return _json({"status": found.status, "parts": found.parts}, status=status)

    async def backlog(self) -> Page:
        """Return the backlog, for autoscalers of workers; 503 if the database is unavailable."""
        if (found := self._backlog.latest) is None:
            return _json({"oldest_seconds": None, "waiting": None}, status=503)
        return _json({"oldest_seconds": round(found.oldest_seconds, 3), "waiting": found.waiting})


def _json(document: object, status: int = 200) -> Page:
    return Page(orjson.dumps(document), content_type="application/json", status=status)


@asynccontextmanager
async def open_metrics(
    settings: Settings, process: ProcessKind, health: Health, backlog: BacklogWatch
) -> AsyncIterator[str | None]:
    """Serve metrics, health and backlog during the `with` block; yield the address of the metrics.

    The server listens on ATTACHMENTS_METRICS_HOST and ATTACHMENTS_METRICS_PORT. Port 0 means any
    free port. If no port is set, nothing is served, and None is yielded. Raises SettingsError if
    the process cannot listen on the address.
    """
    if settings.metrics_port is None:
        yield None
        return
    pages = Pages(process, health, backlog)
    server = make_server(
        {
            "/metrics": pages.metrics,
            "/health/live": pages.live,
            "/health/ready": pages.ready,
            "/backlog": pages.backlog,
        },
        keepalive_timeout=settings.keep_alive,
        lingering_time=1,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        yield await _listen(runner, settings.metrics_host, settings.metrics_port)
    finally:
        await runner.cleanup()
        server.unreadable.close()


async def _listen(runner: web.ServerRunner, host: str, port: int) -> str:
    try:
        both = listen_everywhere(host, port)
        site = web.TCPSite(runner, host, port) if both is None else web.SockSite(runner, both)
        await site.start()
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"ATTACHMENTS_METRICS_HOST, ATTACHMENTS_METRICS_PORT: {host} port {port}"
            f" cannot be listened on: {fault_of(error)}"
        ) from None
    bound = runner.addresses[0]
    address = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}/metrics"
    log.info("metrics are served", url=address)
    return address
