"""Log that a process is ready, and until then what it waits for, as `/health/ready` reports it."""

import asyncio
import time
from typing import Final

from shared.liveness import Health, Readiness
from shared.log import get_logger

FIRST_S: Final = 1.0
"""Seconds after which the first line names what is missing: most starts take less."""

AGAIN_S: Final = 60.0
"""Seconds between two lines that name the same parts."""

LOOK_S: Final = 0.1
"""Seconds between two looks. The parts are asked less often: `Health.ask` reuses its answers."""

log = get_logger(__name__)


async def announce(health: Health, *, waits: str, ready: str, **fields: object) -> None:
    """Log `ready` with `fields` once the process is ready, and return; at a stop, return at once.

    Until then a line `waits` names the missing parts, when they change and once a minute.
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
