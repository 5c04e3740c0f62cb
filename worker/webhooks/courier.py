"""The courier of a worker: takes due deliveries, sends them, and records the results.

It searches for deliveries when it is woken, when slots become free, when a retry is due, and at
every sweep interval. So a delivery whose wake-up is lost is sent after the next sweep interval of
any worker.
"""

import asyncio
import collections
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp.abc import AbstractResolver
from prometheus_client import Counter

from shared.database import Database, DatabaseAway
from shared.jitter import spread, within
from shared.log import get_logger
from shared.settings import Settings
from shared.throttle import Throttle
from shared.webhooks import registry
from shared.webhooks.dispatch import Attempt, Delivery, settle, take
from shared.webhooks.kinds import OWN_FAULTS, DeliveryFault, delay_s
from worker.jobs import Jobs
from worker.webhooks.sending import Sender, open_sender
from worker.webhooks.windows import Windows

GATHER_S = 0.02
"""Time, in seconds, for which results are collected. Then one statement records them."""

SEARCH_S = 0.005
"""Time, in seconds, from the first free slot to the next search, if more deliveries are due. So one
search serves all slots that become free in this time."""

AWAY_S = 1.0
"""Pause, in seconds, after a search that could not reach the database."""

DELIVERIES = Counter(
    "attachments_webhook_deliveries_total", "Attempts at deliveries of webhooks", ["result"]
)
"""The label `result` is `delivered` or the code of the fault."""

DEACTIVATED = Counter(
    "attachments_webhooks_deactivated_total", "Webhooks that the service deactivated", ["reason"]
)

log = get_logger(__name__)


class Courier:
    """Sends the deliveries of all organizations. Webhooks take turns."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        jobs: Jobs,
        throttle: Throttle,
        *,
        slots: int,
        interval_s: float,
    ) -> None:
        self._database = database
        self._sender = sender
        self._jobs = jobs
        self._throttle = throttle
        self._interval_s = interval_s
        self._windows = Windows(slots)
        self._wake = asyncio.Event()
        self._ended: list[Attempt] = []
        self._settling: asyncio.Task[None] | None = None
        self._walked_to = 0
        self._more_is_due = False
        self._search_is_planned = False

    def wake(self) -> None:
        """Search for deliveries now, because deliveries were queued or have become due."""
        self._wake.set()

    async def run(self) -> None:
        """Take and send deliveries until cancelled."""
        await asyncio.sleep(within(min(self._interval_s, 1)))
        while True:
            self._wake.clear()
            pause_s, more = self._interval_s, False
            try:
                if self._windows.free and not self._jobs.stopping:
                    more = await asyncio.shield(self._jobs.start(self._take()))
            except DatabaseAway:  # `shared.outages` logs it
                pause_s = AWAY_S
            except Exception:  # The next search may succeed; a bug must not end the courier.
                log.exception("deliveries cannot be taken")
            if more:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(spread(pause_s)):
                    await self._wake.wait()
                # Let results that arrive at this moment be handled first: one search is then
                # enough for all of them.
                await asyncio.sleep(0)

    async def _take(self) -> bool:
        """Take a batch and start to send it; return True if more may be due and slots are free."""
        batch, rooms = self._windows.batch, self._windows.rooms()
        usual = self._windows.usual_room
        taken = await self._database.run(
            take, limit=batch, rooms=rooms, usual_room=usual, after=self._walked_to
        )
        self._walked_to = taken.walked_to
        counts = collections.Counter(delivery.webhook_id for delivery in taken.deliveries)
        # A webhook that got as many deliveries as it has room for may have more due deliveries.
        self._more_is_due = taken.count == batch or any(
            counts[each] >= (rooms[each].more if each in rooms else usual)
            for each in {*rooms, *counts}
        )
        for delivery in taken.deliveries:
            self._windows.enter(delivery.webhook_id)
            self._jobs.start(self._deliver(delivery))
        return taken.count == batch and self._windows.free > 0

    async def _deliver(self, delivery: Delivery) -> None:
        accepted = None
        try:
            reply = await self._sender.send(delivery)
            DELIVERIES.labels(reply.fault or "delivered").inc()
            if reply.fault is None or reply.fault not in OWN_FAULTS:
                accepted = reply.fault is None
            pause_s = None
            if reply.fault is not None:
                pause_s = None if reply.fault == "gone" else delay_s(delivery.attempt)
                self._report(delivery, reply.fault)
            if pause_s is not None and pause_s <= self._interval_s:
                asyncio.get_running_loop().call_later(pause_s + 2 * GATHER_S, self.wake)
            self._ended.append(
                Attempt(
                    delivery_id=delivery.id,
                    attempt=delivery.attempt,
                    status=reply.status,
                    fault=reply.fault,
                    delay_s=pause_s,
                )
            )
        finally:
            self._windows.leave(delivery.webhook_id, accepted=accepted)
            self._plan_search()
            if self._settling is None or self._settling.done():
                self._settling = self._jobs.start(self._settle())

    def _plan_search(self) -> None:
        """Search for deliveries in SEARCH_S seconds if more may be due.

        Results need not be recorded before the search: a delivery that has just ended is not due,
        because its lease has not ended.
        """
        if self._more_is_due and not self._search_is_planned:
            self._search_is_planned = True
            asyncio.get_running_loop().call_later(SEARCH_S, self._search)

    def _search(self) -> None:
        self._search_is_planned = False
        self.wake()

    def _report(self, delivery: Delivery, fault: DeliveryFault) -> None:
        # The delivery of a test event has no attachment.
        about = {} if delivery.attachment is None else {"attachment": delivery.attachment.id}
        self._throttle(
            "delivery not accepted",
            cause=fault,
            organization=delivery.organization_id,
            **about,
            webhook=delivery.webhook_id,
            delivery=delivery.id,
            attempt=delivery.attempt,
        )

    async def _settle(self) -> None:
        """Record the results of the last GATHER_S seconds.

        If the database is unavailable, the results are kept and recorded later. If the leases have
        ended by then, the deliveries are sent once more.
        """
        await asyncio.sleep(GATHER_S)
        while self._ended:
            ended, self._ended = self._ended, []
            try:
                for each in await self._database.run(settle, ended):
                    DEACTIVATED.labels(each.because).inc()
                    log.warning(
                        "webhook deactivated",
                        webhook=each.webhook_id,
                        organization=each.organization_id,
                        because=each.because,
                    )
            except DatabaseAway:  # `shared.outages` logs this outage
                self._ended = ended + self._ended
                await asyncio.sleep(AWAY_S)
            except Exception:  # When the leases end, these deliveries are sent again.
                log.exception("results of deliveries not recorded")
        self._settling = None


@asynccontextmanager
async def open_courier(
    settings: Settings,
    database: Database,
    jobs: Jobs,
    throttle: Throttle,
    *,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[Courier | None]:
    """Open the courier of a worker; yield None if the settings that webhooks need are missing.

    While it is open, each commit of this process that queues deliveries wakes it.
    """
    vault, refused = settings.vault, settings.webhooks_refused
    if vault is None or refused is not None:
        with suppress(DatabaseAway):
            if await database.run_within(2.0, registry.exists_any):
                log.error("webhooks are not sent", reason=refused)
        yield None
        return
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(open_sender(settings, vault, resolver=resolver))
        courier = Courier(
            database,
            sender,
            jobs,
            throttle,
            slots=settings.webhook_concurrency,
            interval_s=settings.sweep_interval,
        )
        database.on_queued = courier.wake
        yield courier
