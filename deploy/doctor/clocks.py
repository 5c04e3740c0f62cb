"""Check that the clocks of this machine, the store and the database agree."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from deploy.client.network_faults import fault_of
from deploy.doctor.examination import Examination, Verdict, failed, ok, skipped, warning
from shared.database import Connection, DatabaseAway
from shared.web_proxies import proxy_for

IN_STEP_S = 1.5  # the HTTP header Date can be wrong by almost 1 s
WARNING_S = 60.0
FAILED_S = 300.0
"""From a clock difference of WARNING_S seconds on, the doctor warns. From FAILED_S seconds on, the
check fails. S3 rejects a signature whose time differs by more than 15 minutes, and uses its own
clock to decide whether a policy has expired."""


async def check_clocks(examination: Examination) -> Verdict:
    """Measure how far the store's and the database's clocks are ahead of this machine's clock."""
    ahead: dict[str, float] = {}
    faults = []

    async def measure(name: str, ask: Callable[[], Awaitable[datetime]]) -> None:
        before = datetime.now(UTC)
        try:
            clock = await ask()
        except (aiohttp.ClientError, OSError, DatabaseAway, LookupError, ValueError) as error:
            faults.append(f"{name} not known ({fault_of(error)})")
        else:
            after = datetime.now(UTC)
            ahead[name] = (clock - before - (after - before) / 2).total_seconds()

    await measure("store", lambda: _store_time(examination))
    if examination.works("database"):
        await measure("database", lambda: examination.database.run(read_clock))
    if not ahead:
        return skipped("the store and the database do not return a time")
    clock = [
        f"{name} {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
        if abs(seconds) >= IN_STEP_S
        else f"{name} in step"
        for name, seconds in ahead.items()
    ]
    found = f"against this machine: {', '.join([*clock, *faults])}"
    worst = max(abs(seconds) for seconds in ahead.values())
    mend = "set the clocks by NTP: a policy ends by them, and S3 refuses a difference of 15 minutes"
    if worst > FAILED_S:
        return failed(found, mend)
    return warning(found, mend) if worst > WARNING_S else ok(found)


async def _store_time(examination: Examination) -> datetime:
    url = examination.store_url
    async with examination.http.head(url, allow_redirects=False, proxy=proxy_for(url)) as answer:
        return parsedate_to_datetime(answer.headers["Date"])


async def read_clock(connection: Connection) -> datetime:
    """Return the time of the database's clock."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now
