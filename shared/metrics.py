"""The metrics of a process, and the address at which Prometheus reads them.

The address is separate from the API's public one: metrics are for operators, and a scrape must not
use the public port.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import Counter, generate_latest

from shared.errors import SettingsError
from shared.listening import fault_of, listen_everywhere
from shared.log import get_logger
from shared.scrapes import make_server
from shared.settings import Settings

EVENTS = Counter("attachments_events_total", "Events by dialect and effect", ["dialect", "effect"])
"""The effects are those of `shared.intake.effects`; for SNS also `refused`, counted by message."""

OLDER_OBJECTS = Counter(
    "attachments_older_objects_total",
    "Times that an object was met which is older than its row, and so was not used or deleted",
)

NOT_KEPT = Counter(
    "attachments_dead_letters_not_kept_total",
    "Messages that could not be used and came too fast from one origin to be kept",
)
"""A message that is stored already may be counted here too; its dead letter also counts it."""

CACHED_S = 1.0
"""How long the text of a scrape is reused: collecting it blocks the event loop for milliseconds."""

log = get_logger(__name__)


class Scrapes:
    """The text of all metrics of this process, collected at most once a second."""

    def __init__(self) -> None:
        self._body = b""
        self._collected_at = -CACHED_S

    def body(self) -> bytes:
        """Return the metrics in the text exposition format, at most CACHED_S seconds old."""
        now = time.monotonic()
        if now - self._collected_at >= CACHED_S:
            self._body = generate_latest()
            self._collected_at = now
        return self._body


@asynccontextmanager
async def open_metrics(settings: Settings) -> AsyncIterator[str | None]:
    """Serve `GET /metrics` at ATTACHMENTS_METRICS_HOST and _PORT; yield the address.

    Yields None and serves nothing if no port is set. Port 0 chooses a free port. Raises
    SettingsError if the process cannot listen on the address.
    """
    if settings.metrics_port is None:
        yield None
        return
    scrapes = Scrapes()

    server = make_server(scrapes.body, keepalive_timeout=settings.keep_alive, lingering_time=1)
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
