"""Log when a process becomes ready, and until then which parts it waits for."""

import asyncio
import time
from typing import Final

from shared.liveness import Health, Readiness
from shared.log import get_logger

FIRST_S: Final = 1.0
"""If the start takes longer than this number of seconds, a log line names the missing parts. Most
starts are faster."""

AGAIN_S: Final = 60.0
"""Seconds until a log line names the same missing parts again."""

LOOK_S: Final = 0.1
"""Seconds between two checks. The parts are asked less often, because `Health.ask` caches."""

log = get_logger(__name__)


async def announce(health: Health, *, waits: str, ready: str, **fields: object) -> None:
    """Log `ready` with `fields` once the process is ready. Return at once if the process stops.

    Until then, log `waits` with the missing parts when they change, and once a minute.
    """
    began = time.monotonic()
    logged: tuple[str, ...] = ()
    logged_at = began
    while (found := await health.ask()).status != "ready":
        if found.status == "stopping":
            return
        now = time.monotonic()
        due = found.missing != logged or now - logged_at >= AGAIN_S
        if due and now - began >= FIRST_S:
            _log_missing(waits, found)
            logged, logged_at = found.missing, now
        await asyncio.sleep(LOOK_S)
    log.info(ready, **fields)


def _log_missing(event: str, found: Readiness) -> None:
    faults = "; ".join(f"{name}: {found.parts[name]}" for name in found.missing)
    log.info(event, missing=", ".join(found.missing), error=faults)
