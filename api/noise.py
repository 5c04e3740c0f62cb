"""Limit the log lines, metrics and answers for rejected requests, which any client can cause.

Log lines are limited for each kind and source. No line contains what a client sent: no token,
query, path, header or body.
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
"""Number of log lines with the same kind and source that are logged immediately. Later ones are
only counted."""

FAULTS_AT_ONCE = 10
"""Number of warnings with the same kind and source that are logged immediately. It is higher than
AT_ONCE, because each warning may show a fault that an operator must repair. Strangers cannot cause
many warnings, because most need a valid token."""

MAX_KEYS = 1000
"""Log lines are counted for each kind and source. This is the maximum number of such counts; they
take about 300 kB."""

REFUSED = Counter(
    "attachments_refused_requests_total", "Requests refused before any route", ["reason"]
)

RefusalKind = Literal["unreadable", "host", "expect", "http2", "late_head", "slow_reader", "error"]
"""Values of the label `reason` in REFUSED. `error` means a bug."""

DenialReason = Literal[
    "no token",
    "unreadable token",
    "unknown token",
    "wrong organization",
    "outside the scope",
    "an id was given",
    "not allowed",
]
"""The logged reason of a 401 or 403. `not allowed` is the default."""

SnsReason = NewType("SnsReason", str)
"""The logged reason of a 403 for an SNS message: `SNS: ` and the text of SnsRefused. Only
`api.events` makes this reason. The text is not a secret: the sender gets it too, as the error's
detail."""

log = get_logger(__name__)


class Noise:
    """The throttles of one API process.

    `info` and `warning` throttle log lines of these levels. `pace` delays the answers to rejected
    requests.
    """

    def __init__(self) -> None:
        self.info = Throttle(log.info, at_once=AT_ONCE, max_keys=MAX_KEYS)
        self.warning = Throttle(log.warning, at_once=FAULTS_AT_ONCE, max_keys=MAX_KEYS)
        self.pace = Pace()

    def refused(self, event: str, address: str, *, metric: RefusalKind, reason: str) -> None:
        """Count and log a request that never reached a route, or a connection that was closed."""
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
        """Log a 401 or 403: its reason, method, route, source address and, if known, the caller."""
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
        """Log the counts that are not logged yet."""
        self.info.close()
        self.warning.close()


NOISE = web.RequestKey("noise", Noise)
"""The key of the Noise in a request. `api.server` sets it before the application is called, because
errors may occur before that."""

CALLER = web.RequestKey("caller", Caller)
"""The key of the caller in a request. It is set as soon as the token is found, so a request that is
rejected later may have it too."""


@asynccontextmanager
async def open_noise() -> AsyncIterator[Noise]:
    """Create the throttles. Until the end of the block, log what they count, and all outages."""
    noise = Noise()
    task = asyncio.create_task(outages.keep_logging(noise.info, noise.warning), name="log lines")
    try:
        yield noise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        noise.close()
