"""Log lines, counts and answers of what any stranger can cause: bounded by kind and by source.

No line holds what a client sent: no token, query, path, header or body.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web
from prometheus_client import Counter

from api.clients import client_address, source_of
from api.measuring import METHODS
from api.pace import Pace
from shared.log import get_logger
from shared.throttle import Throttle
from shared.tokens import Caller

AT_ONCE = 3
FAULTS_AT_ONCE = 10
"""The same for warnings, most of which need a token: each may be a fault to be mended."""

MAX_KEYS = 1000
"""Kinds and sources that are told apart at one time: about 300 kB."""

FLUSH_EVERY_S = 5.0
"""How late the line with a count may be, after its minute, if nothing else comes."""

REFUSED = Counter(
    "attachments_refused_requests_total", "Requests refused before any route", ["reason"]
)

RefusalKind = Literal["unreadable", "host", "expect", "http2", "late_head", "slow_reader", "error"]
"""The reasons of REFUSED; `error` is a bug."""

log = get_logger(__name__)


class Noise:
    """The throttles of one API process: `info` and `warning` are levels of the log.

    `pace` is that of refusals.
    """

    def __init__(self) -> None:
        self.info = Throttle(log.info, at_once=AT_ONCE, max_keys=MAX_KEYS)
        self.warning = Throttle(log.warning, at_once=FAULTS_AT_ONCE, max_keys=MAX_KEYS)
        self.pace = Pace()

    def refused(self, event: str, address: str, *, metric: RefusalKind, reason: str) -> None:
        """Note a request that is refused before any route, or a connection that is cut off."""
        REFUSED.labels(metric).inc()
        self.info.log(event, (reason, source_of(address)), reason=reason, address=address)

    def denied(self, request: web.BaseRequest, status: int, *, reason: str, route: str) -> None:
        """Note a 401 or 403: who was refused, why, at which route, from where."""
        address, caller = client_address(request), request.get(CALLER)
        method = request.method if request.method in METHODS else "other"
        fields: dict[str, Any] = {"reason": reason, "method": method, "route": route}
        if isinstance(caller, Caller):
            fields |= {"organization": caller.organization_id, "token": caller.token_id}
        self.info.log(
            "authentication failed" if status == 401 else "access denied",
            (reason, fields.get("token"), source_of(address)),
            **fields,
            address=address,
        )

    async def run(self) -> None:
        """Write counts whose minute is over; runs until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self.info.flush()
            self.warning.flush()

    def close(self) -> None:
        """Write all counts."""
        self.info.close()
        self.warning.close()


NOISE = web.RequestKey("noise", Noise)
"""Every request carries the throttles: its errors may be answered before the application has it."""

CALLER = web.RequestKey("caller", Caller)
"""The token of a request, once it is known, whether or not the request is allowed."""


@asynccontextmanager
async def open_noise() -> AsyncIterator[Noise]:
    """Make the throttles; counts are written in time while they are in use, the rest at the end."""
    noise = Noise()
    task = asyncio.create_task(noise.run())
    try:
        yield noise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        noise.close()
