"""Limit the log lines, metrics and answers for refused requests, which any client can cause.

Log lines are limited by kind and by source. No line holds what a client sent: no token, query,
path, header or body.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, NewType

from aiohttp import web
from prometheus_client import Counter

from api.clients import client_address, source_of
from api.measuring import METHODS
from api.pace import Pace
from shared import outages
from shared.log import get_logger
from shared.throttle import Throttle
from shared.tokens import Caller

AT_ONCE = 3
"""Number of lines of one kind and source that are logged immediately; later lines are counted."""

FAULTS_AT_ONCE = 10
"""The same for warnings. This limit is higher because most warnings can be caused only with a
token, and each may be a fault that an operator must repair."""

MAX_KEYS = 1000
"""Maximum number of pairs of kind and source that are counted separately; about 300 kB."""

REFUSED = Counter(
    "attachments_refused_requests_total", "Requests refused before any route", ["reason"]
)

RefusalKind = Literal["unreadable", "host", "expect", "http2", "late_head", "slow_reader", "error"]
"""Values of `reason` in REFUSED; `error` is a bug."""

DenialReason = Literal[
    "no token",
    "unreadable token",
    "unknown token",
    "wrong organization",
    "outside the scope",
    "an id was given",
    "not allowed",
]
"""The logged reason of a 401 or 403; `not allowed` if the code that refused gave none."""

SnsReason = NewType("SnsReason", str)
"""The logged reason of a 403 for a message of SNS: `SNS: ` and the text of SnsRefused. Only
`api.events` makes one. The text is open, because it is the detail that the sender reads too."""

log = get_logger(__name__)


class Noise:
    """The throttles of one API process.

    `info` and `warning` throttle log lines of that level. `pace` delays the answers that refuse a
    request.
    """

    def __init__(self) -> None:
        self.info = Throttle(log.info, at_once=AT_ONCE, max_keys=MAX_KEYS)
        self.warning = Throttle(log.warning, at_once=FAULTS_AT_ONCE, max_keys=MAX_KEYS)
        self.pace = Pace()

    def refused(self, event: str, address: str, *, metric: RefusalKind, reason: str) -> None:
        """Count and log a request refused before any route, or a connection that is cut off."""
        REFUSED.labels(metric).inc()
        self.info.log(event, (reason, source_of(address)), reason=reason, address=address)

    def denied(
        self,
        request: web.BaseRequest,
        status: int,
        *,
        reason: DenialReason | SnsReason,
        route: str,
    ) -> None:
        """Log a 401 or 403 with its reason, method, route, caller (if known) and source address."""
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

    def close(self) -> None:
        """Log all counts that were not logged yet."""
        self.info.close()
        self.warning.close()


NOISE = web.RequestKey("noise", Noise)
"""The throttles, set on every request: errors may occur before the application is called."""

CALLER = web.RequestKey("caller", Caller)
"""The caller of a request, set as soon as the token is found, even if the request is refused."""


@asynccontextmanager
async def open_noise() -> AsyncIterator[Noise]:
    """Make the throttles; log their counts and outages in time, and the rest at the end."""
    noise = Noise()
    task = asyncio.create_task(outages.keep_logging(noise.info, noise.warning), name="log lines")
    try:
        yield noise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        noise.close()
