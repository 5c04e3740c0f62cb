"""The event loop of a worker: it opens the parts of the worker, runs them, and closes them.

The loop has its own thread, and Celery has the main thread. `worker/__init__.py` lists the steps.
"""

import asyncio
import os
import signal
import threading
from contextlib import AsyncExitStack, suppress

import uvloop

from shared import outages
from shared.backlog import BacklogWatch
from shared.bucket_owner import read_marker
from shared.deployment import learn_prefix
from shared.errors import SettingsError
from shared.lifecycle import WakeUp
from shared.liveness import Health, answers, reads, reports
from shared.log import get_logger
from shared.metrics_address import open_metrics
from shared.outages import BROKER
from shared.readiness import announce
from shared.settings import Settings
from shared.throttle import Throttle
from worker import measuring
from worker.attempts import Attempts
from worker.copying import open_copying
from worker.duties import Duties
from worker.jobs import Jobs
from worker.leases import Leases
from worker.reception import Reception, leave_to_others
from worker.slots import Slots
from worker.sweep import Sweep
from worker.tidying import tidy
from worker.tools import open_tools
from worker.webhooks.courier import Courier, open_courier
from worker.webhooks.housekeeping import keep_house

DRAIN_S = 6.0
"""Time, in seconds, that uploads have to end after the request to stop. After this time, the
uploads that have not ended are released."""

GIVE_BACK_S = 4.0
"""Time, in seconds, after DRAIN_S, in which uploads are released and parts are closed. If the
database does not answer in this time, other workers take the uploads when the leases end."""

SWEEP_SILENT_S = 20.0
"""Seconds that a sweep may take beyond its interval; after that the worker counts as stuck. A
statement is cancelled after 5 s and tried twice, which takes 10 s."""

log = get_logger(__name__)


class Runtime:
    """The event loop of one worker process, in its own thread. Other threads may call methods."""

    reception: Reception

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._health = Health(step="decoders")
        self._jobs = Jobs()
        self.courier: Courier | None = None
        self._throttle = Throttle(log.warning)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="runtime", daemon=True)

    def start(self) -> None:
        """Start the loop, and wait until its parts are open. Raises the error of a part."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def receive(self, wake_up: WakeUp) -> None:
        """Process the upload of a wake-up. After a request to stop, leave it to other workers."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._receive, wake_up)

    def _receive(self, wake_up: WakeUp) -> None:
        if self._jobs.stopping:
            self._jobs.start(leave_to_others(self._tools.database, [wake_up]))
        else:
            self.reception.receive(wake_up)

    def wake_courier(self) -> None:
        """Let the courier look for deliveries that another process has queued."""
        if self.courier is not None and self._loop is not None and not self._jobs.stopping:
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self.courier.wake)

    def learn_prefix(self) -> str:
        """Return the prefix of the service's keys at the broker; wait if the database is away."""
        assert self._loop is not None
        asked = learn_prefix(self._tools.database, self._settings)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def takes_wake_ups(self) -> None:
        """Record that the broker delivers wake-ups: this completes the start of the worker."""
        self._health.step = None

    def drain(self) -> None:
        """Begin to stop: take nothing new, wait up to DRAIN_S for uploads, release the others."""
        if self._loop is not None and not self._jobs.stopping:
            self._jobs.stopping = self._health.stopping = True
            self._stopping.set()
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> bool:
        """Wait until the loop and its parts have ended; return False if an error ended the loop."""
        self._thread.join()
        return self._failure is None

    def ends_in_time(self) -> bool:
        """Wait for the request to stop, then for the loop to end; return False if it ends late."""
        self._stopping.wait()
        self._thread.join(DRAIN_S + GIVE_BACK_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except SettingsError as error:  # the caller of `start` logs the error in one line
            self._failure = error
        except BaseException as error:
            self._failure = error
            log.exception("the worker's loop ended")
            if self._ready.is_set():  # stop Celery: without the loop, it would drop all messages
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._jobs.stopping = True
            self._stopping.set()
            self._ready.set()

    async def _main(self) -> None:
        settings, jobs, throttle = self._settings, self._jobs, self._throttle
        self._stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            health, backlog = self._health, BacklogWatch()
            announcing = asyncio.create_task(
                announce(health, waits="worker waits", ready="worker is ready")
            )
            measuring.prepare()
            await stack.enter_async_context(open_metrics(settings, "worker", health, backlog))
            self._tools = tools = await stack.enter_async_context(open_tools(settings))
            await stack.enter_async_context(backlog.watching(tools.database))
            health.need("database", answers(tools.database))
            health.need("store", reads(lambda: read_marker(tools.storage)))
            health.use("broker", reports(BROKER))
            if tools.scanner is not None:
                add = health.use if settings.scan_optional else health.need
                add("scanner", tools.scanner.ping)
            stack.callback(throttle.close)
            copying = await stack.enter_async_context(open_copying(tools, self._receive, throttle))
            self.courier = await stack.enter_async_context(
                open_courier(settings, tools.database, jobs, throttle)
            )
            slots, given_back = Slots(settings.concurrency), asyncio.Event()
            leases = Leases(tools.database, lease_s=settings.lease)
            attempts = Attempts(
                tools, slots, leases, copying, jobs, throttle, given_back=given_back
            )
            self.reception = Reception(slots, jobs, attempts.attempt, throttle)
            duties = Duties(tools, attempts, copying, throttle)
            beat = health.expect("sweep", within_s=settings.sweep_interval + SWEEP_SILENT_S)
            sweep = Sweep(tools, slots, jobs, duties, beat, given_back=given_back)
            self._loop = asyncio.get_running_loop()
            renewing = asyncio.create_task(leases.renew())
            periodic = [
                announcing,
                asyncio.create_task(outages.keep_logging(throttle)),
                asyncio.create_task(sweep.run()),
                asyncio.create_task(tidy(tools.database, settings)),
                asyncio.create_task(tools.bucket.watch()),
                asyncio.create_task(keep_house(tools.database, settings)),
            ]
            if self.courier is not None:
                periodic.append(asyncio.create_task(self.courier.run()))
            health.step = "broker"
            self._ready.set()
            log.info(
                "worker has started", concurrency=settings.concurrency, decoders=settings.decoders
            )
            await self._stop.wait()
            log.info("worker stops", within_s=DRAIN_S + GIVE_BACK_S)
            for task in periodic:
                task.cancel()
            jobs.start(leave_to_others(tools.database, self.reception.close()))
            await jobs.end(within_s=DRAIN_S)
            # Leases were renewed until now, because uploads in flight needed them.
            renewing.cancel()
            await asyncio.gather(renewing, *periodic, return_exceptions=True)
