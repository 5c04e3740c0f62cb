"""One event loop per worker process: many uploads in flight, their leases, and the sweep.

Celery's thread hands ids in; everything else happens in the loop, whose pool, store client and
decoders are made once. With the broker dead the sweep alone keeps the loop fed.

It is long because all of it shares one lifetime: what starts here is stopped here, in reverse
order, and any part of it elsewhere would have to be handed most of this state.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import uvloop

from shared import counting, dead_letters, lifecycle, older_objects
from shared.bucket_guard import BucketGuard
from shared.database import Database, DatabaseAway, open_database
from shared.deployment import learn_prefix
from shared.due import Due, Duty, make_due, take_due
from shared.errors import (
    BucketForeign,
    ClaimLost,
    DecoderFault,
    ObjectChanged,
    ObjectMissing,
    ObjectOlder,
    SettingsError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from shared.jitter import spread, within
from shared.lifecycle import Claim, Outcome, WakeUp
from shared.log import get_logger
from shared.metrics import open_metrics
from shared.reasons import ReasonCode
from shared.settings import Settings
from shared.store_client import open_storage
from shared.throttle import Throttle
from worker.budget import Budget
from worker.copying import open_copying
from worker.decoding.pool import Decoders
from worker.patience import cause_of
from worker.pipeline import Tools, drop_thumbnail, process
from worker.purging import Caretaker
from worker.reception import Reception
from worker.slots import UNKNOWN, Place, Places
from worker.sniffing.sniffer import Sniffers

DRAIN_S = 6.0
"""How long uploads in flight may still run when the worker is told to stop; what is not done by
then is given back, so that another worker takes it at once."""

GIVE_BACK_S = 4.0
"""How long giving back and closing may take after that; of a database that does not answer no more
is to be expected, and what is still held is taken up after its lease."""

DATABASE_RETRY_S = 1.0
"""How often a database that is away is asked to take back what cannot go on without it, and to give
out what a wake-up told of: once it answers again, work goes on within seconds."""

SWEEP_RETRY_S = 2.0
"""How long a sweep that found the database away waits, at most."""

TIDY_EVERY_S = 600.0

LOOK_S = 2.0
"""How long the start of a worker waits to learn whose the bucket is."""

LEFT_AT_A_TIME = 1000
"""Rows that one statement leaves to other workers when this one stops."""

T = TypeVar("T")

log = get_logger(__name__)


def backoff_s(attempt: int) -> float:
    """How long to wait after a failed attempt: 5 s, 20 s, 80 s, 320 s, …, at most 15 minutes.

    Five attempts so span seven minutes of a store's outage; a fifth is taken off or added at
    random, lest a thousand uploads come back in one moment.
    """
    return spread(min(5 * 4 ** (attempt - 1), 900))


class Runtime:
    """The loop of one worker process, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: dict[int, tuple[Claim, asyncio.Task[Any]]] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._throttle = Throttle(log.warning)
        self._given_back = asyncio.Event()
        self._swept_to = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._told = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="runtime", daemon=True)

    # --- called from other threads -------------------------------------------------------

    def start(self) -> None:
        """Start the loop and wait until its parts are open."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def attend(
        self,
        attachment_id: int,
        revision: int,
        organization_id: int = UNKNOWN,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Have an upload processed when its organization's turn comes; returns at once.

        `done` is called, from another thread, once the broker may forget the wake-up: whatever
        happens to the upload is then written in its row. It is not called when this worker stops
        before it has begun anything, so that the broker gives the wake-up to another one.
        """
        loop = self._loop
        if loop is None or self._draining:
            return
        wake_up = WakeUp(
            attachment_id=attachment_id, organization_id=organization_id, revision=revision
        )
        with suppress(RuntimeError):  # the loop has just ended
            loop.call_soon_threadsafe(self._reception.receive, wake_up, done)

    def learn_prefix(self) -> str:
        """Give what our keys at the broker begin with; waits while the database is away."""
        assert self._loop is not None
        asked = learn_prefix(self._database, self._settings)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def drain(self) -> None:
        """Begin to stop: take nothing new, let uploads end for a while, give the rest back."""
        if self._loop is not None and not self._draining:
            self._draining = True
            self._told.set()
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> bool:
        """Wait until it has ended and closed everything; returns whether that was in good order."""
        self._thread.join()
        return self._failure is None

    def ends_in_time(self) -> bool:
        """Wait for the order to stop, then for the end; returns whether that came in time."""
        self._told.wait()
        self._thread.join(DRAIN_S + GIVE_BACK_S)
        return not self._thread.is_alive()

    # --- the loop ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except SettingsError as error:  # whoever started us shows it, in a line
            self._failure = error
        except BaseException as error:
            self._failure = error
            log.exception("the worker's loop ended")
            if self._ready.is_set():  # without it Celery would only throw messages away
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._draining = True
            self._told.set()
            self._ready.set()

    async def _main(self) -> None:
        settings = self._settings
        self._stop = asyncio.Event()
        self._places = Places(settings.concurrency)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(open_metrics(settings))
            database = await stack.enter_async_context(open_database(settings))
            storage = await stack.enter_async_context(
                open_storage(settings, connections=settings.concurrency + 8)
            )
            decoders = Decoders(
                settings.decoders,
                timeout_s=settings.decoder_timeout,
                more=settings.more_formats,
                must_be_sealed=settings.decoder_seal == "required",
                isolated=settings.decoder_isolation == "organization",
            )
            stack.push_async_callback(decoders.close)
            sniffers = Sniffers(
                timeout_s=settings.decoder_timeout,
                must_be_sealed=settings.decoder_seal == "required",
            )
            stack.push_async_callback(sniffers.close)
            self._bucket = BucketGuard(database, storage)
            await asyncio.gather(decoders.warm_up(), sniffers.warm_up(), self._look_at_bucket())
            self._tools = Tools(
                settings=settings, database=database, storage=storage, bucket=self._bucket,
                decoders=decoders, sniffers=sniffers, budget=Budget(settings.buffer_bytes),
            )  # fmt: skip
            self._caretaker = Caretaker(self._tools, self._throttle)
            stack.callback(self._throttle.close)
            self._reception = Reception(self._places, self._begin, self._throttle)
            self._copying = await stack.enter_async_context(
                open_copying(self._tools, self._reception.receive)
            )
            self._loop = asyncio.get_running_loop()
            periodic = [
                asyncio.create_task(self._renew()),
                asyncio.create_task(self._sweep()),
                asyncio.create_task(self._tidy()),
                asyncio.create_task(self._bucket.watch()),
            ]
            self._ready.set()
            log.info(
                "worker is ready", concurrency=settings.concurrency, decoders=settings.decoders
            )
            await self._stop.wait()
            for task in periodic[1:]:  # leases are still needed
                task.cancel()
            self._keep_job(self._leave_to_others(self._reception.close()))
            await self._end_jobs()
            periodic[0].cancel()
            await asyncio.gather(*periodic, return_exceptions=True)

    async def _look_at_bucket(self) -> None:
        """Find out whose the bucket is, if that is soon done; `watch` goes on with it."""
        with suppress(BucketForeign):
            await self._bucket.at_start(within_s=LOOK_S)

    async def _end_jobs(self) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + DRAIN_S
        while self._jobs and loop.time() < give_up:  # a sweep that has just taken rows begins more
            await asyncio.wait(self._jobs, timeout=give_up - loop.time())
        left = set(self._jobs)
        for job in left:
            job.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _leave_to_others(self, wake_ups: list[WakeUp]) -> None:
        """Make due at once what waits here for a place: the next sweep of any worker takes it."""
        left = 0
        try:
            for first in range(0, len(wake_ups), LEFT_AT_A_TIME):
                some = wake_ups[first : first + LEFT_AT_A_TIME]
                left += await self._database.run(make_due, some)
            if left:
                log.info("left to other workers", uploads=left)
        except DatabaseAway as error:  # they are due when the grace of publishing is over
            log.warning("what waits is not left to others at once", error=str(error))

    def _begin(self, place: Place, wake_up: WakeUp, done: Callable[[], None]) -> None:
        """Process what a wake-up tells of in a place of its own."""

        def end(_: asyncio.Task[None]) -> None:
            with suppress(Exception):  # Celery's own loop may have ended
                done()
            self._places.leave(place)

        self._keep_job(self._claim_and_work(place, wake_up)).add_done_callback(end)

    async def _claim_and_work(self, place: Place, wake_up: WakeUp) -> None:
        if self._bucket.foreign is not None:
            return  # the row is due, should the bucket become ours
        try:
            claim = await self._claim(wake_up.attachment_id, wake_up.revision)
            if claim is not None:
                self._places.assign(place, claim.attachment.organization_id)
                await self._work(claim)
            else:  # it may tell of a copy
                self._copying.begin(wake_up.attachment_id, None, None)
        except Exception:
            log.exception("unexpected error", attachment=wake_up.attachment_id)

    async def _claim(self, attachment_id: int, revision: int) -> Claim | None:
        """Claim what a wake-up tells of; asked again while the database is away.

        Not for longer than the grace of publishing: then it is due, and the sweep takes it up.
        """
        over: float | None = None
        while True:
            try:
                return await self._database.run(
                    lifecycle.claim, attachment_id, revision, lease_s=self._settings.lease
                )
            except DatabaseAway as error:
                if over is None:
                    log.warning("database is away", attachment=attachment_id, error=str(error))
                    over = self._now() + self._settings.publish_grace
                if self._draining or self._now() > over:
                    return None
            await asyncio.sleep(DATABASE_RETRY_S)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def _database(self) -> Database:
        return self._tools.database

    def _keep_job(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something that is waited for when the worker stops."""
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def _work(self, claim: Claim) -> None:
        """Process a claimed upload, and see to it that its row says how that went."""
        row = claim.attachment
        task = asyncio.current_task()
        assert task is not None
        self._held[row.id] = (claim, task)
        try:
            await self._process(claim)
        except DatabaseAway as error:
            log.warning("database is away", attachment=row.id, error=str(error))
            await self._outlast(claim)
        except asyncio.CancelledError:
            try:
                await asyncio.shield(self._given_up(claim))
            except DatabaseAway:
                if not self._draining:
                    await self._outlast(claim)
            raise
        finally:
            self._let_go(claim)

    async def _process(self, claim: Claim) -> None:
        """Process a claimed upload and write down how that went. Raises DatabaseAway."""
        row = claim.attachment
        try:
            try:
                outcome = await process(self._tools, claim)
                log.info(
                    "processed", attachment=row.id, state=outcome.state, reason=outcome.reason,
                    content_type=outcome.facts.content_type,
                )  # fmt: skip
            except ObjectMissing:
                await self._missing(claim)  # which the store may fail as well
            except ObjectOlder:
                await self._set_aside(claim)
        except StoreRefused as error:
            await self._try_again(claim, "store_refused", error)
        except ObjectChanged as error:
            await self._try_again(claim, "changing", error)
        except StoreError as error:
            await self._try_again(claim, "store_unavailable", error)
        except DecoderFault as error:
            await self._try_again(claim, error.code, error)
        except ClaimLost:
            log.info("another worker took over", attachment=row.id)
            self._let_go(claim)
            await self._given_up(claim)
        except DatabaseAway:
            raise
        except Exception as error:
            log.exception("unexpected error", attachment=row.id)
            await self._try_again(claim, "internal_error", error)

    def _holds(self, claim: Claim) -> bool:
        held = self._held.get(claim.attachment.id)
        return held is not None and held[0] is claim

    def _let_go(self, claim: Claim) -> None:
        if self._holds(claim):  # this worker's own sweep may hold it under a later claim by now
            del self._held[claim.attachment.id]

    async def _given_up(self, claim: Claim) -> None:
        """Leave an upload to others: what is still held is given back; overtaken, it is seen to.

        Given back uncounted: it was not for the upload that this attempt did not end.
        """
        if not self._holds(claim) or (
            await self._database.run(lifecycle.release, claim, delay_s=0.0, counted=False) is None
        ):
            await self._database.run(lifecycle.process_again, claim.attachment.id)

    async def _outlast(self, claim: Claim) -> None:
        """Give an upload up as soon as the database is back; after the lease the sweep sees to it.

        It goes on at once: what is given back is due, and the sweep is told.
        """
        over = self._now() + self._settings.lease
        try:
            while self._now() < over:
                await asyncio.sleep(DATABASE_RETRY_S)
                with suppress(DatabaseAway):
                    await self._given_up(claim)
                    self._given_back.set()
                    return
        except asyncio.CancelledError:
            with suppress(DatabaseAway):
                await asyncio.shield(self._given_up(claim))
            raise

    async def _missing(self, claim: Claim) -> None:
        row = claim.attachment
        await drop_thumbnail(self._tools.storage, row)
        state = await self._database.run(
            lifecycle.mark_missing, claim, revision=row.claimed_revision,
            next_check_s=self._settings.pending_check,
        )  # fmt: skip
        if state is None and (  # something was recorded meanwhile: look again
            await self._database.run(lifecycle.release, claim, delay_s=0.0) is None
        ):
            await self._database.run(lifecycle.process_again, row.id)
        log.info("no object", attachment=row.id, state=state)

    async def _set_aside(self, claim: Claim) -> None:
        """Write down that the object belongs to a lost row, not to the one that we hold."""
        row = claim.attachment
        await drop_thumbnail(self._tools.storage, row)
        state = await self._database.run(
            older_objects.set_aside, claim, revision=row.claimed_revision,
            next_check_s=self._settings.pending_check,
        )  # fmt: skip
        if state is None and (  # something was recorded meanwhile: look again
            await self._database.run(lifecycle.release, claim, delay_s=0.0) is None
        ):
            await self._database.run(lifecycle.process_again, row.id)
        log.info("object set aside", attachment=row.id, state=state)

    async def _try_again(self, claim: Claim, reason: ReasonCode, error: Exception) -> None:
        row = claim.attachment
        last = row.attempt >= self._settings.attempts
        fields = {"attachment": row.id, "attempt": row.attempt, "reason": reason, "final": last}
        if isinstance(error, StoreRefused | StoreUnavailable):  # all uploads fail alike
            self._throttle("attempt failed", cause=cause_of(error), **fields)
        else:
            log.warning("attempt failed", **fields, error=f"{type(error).__name__}: {error}")
        if last and await self._database.run(
            lifecycle.finish, claim, Outcome(state="failed", reason=reason),
            revision=row.claimed_revision, next_check_s=self._settings.pending_check,
        ):  # fmt: skip
            return
        await self._database.run(
            lifecycle.release, claim, delay_s=backoff_s(row.attempt), reason=reason
        )

    async def _renew(self) -> None:
        """Lengthen every lease in time, in one statement; stop the work on those that are lost."""
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            held = dict(self._held)
            if not held:
                continue
            try:
                kept = await self._database.run(
                    lifecycle.renew,
                    [claim for claim, _ in held.values()],
                    lease_s=self._settings.lease,
                )
            except DatabaseAway as error:
                log.warning("leases not renewed", error=str(error))
                continue
            except Exception:  # whatever it was, the next renewal may come in time
                log.exception("leases not renewed")
                continue
            for attachment_id, (claim, task) in held.items():
                if attachment_id not in kept and self._holds(claim):
                    log.info("another worker took over", attachment=attachment_id)
                    self._let_go(claim)
                    task.cancel()

    async def _sweep(self) -> None:
        """Every so often take up what is due; again at once while there is more than fits.

        Soon after the database was away, too: what waited for it is due.
        """
        interval = self._settings.sweep_interval
        await asyncio.sleep(within(min(interval, 2)))
        while True:
            free, taken, pause_s = self._places.take_for_sweep(), 0, interval
            self._given_back.clear()
            self._throttle.flush()
            try:
                if free and self._bucket.foreign is None:
                    # shielded: claims may be on their way when the sweep is cancelled
                    taken = await asyncio.shield(self._keep_job(self._take_due(free)))
            except DatabaseAway as error:
                log.warning("sweep put off", error=str(error))
                pause_s = min(interval, SWEEP_RETRY_S)
            except Exception:
                log.exception("sweep failed")
            finally:
                self._places.give_back(free - taken)
            if taken and taken == free:
                await self._places.wait_for_sweep()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(spread(pause_s)):
                        await self._given_back.wait()

    async def _tidy(self) -> None:
        """Now and then remove old dead letters, and count usage that waits for its first count."""
        while True:
            await asyncio.sleep(spread(TIDY_EVERY_S))
            try:
                await self._database.run(dead_letters.prune, self._settings)
            except DatabaseAway as error:
                log.warning("dead letters not pruned", error=str(error))
            except Exception:
                log.exception("dead letters not pruned")
            try:
                if counted := await self._database.run(counting.count_waiting):
                    log.info("usage counted", organization=counted)
            except DatabaseAway as error:
                log.warning("usage not counted", error=str(error))
            except Exception:
                log.exception("usage not counted")

    async def _take_due(self, limit: int) -> int:
        sweep = await self._database.run(
            take_due, limit=limit, lease_s=self._settings.lease,
            attempts=self._settings.attempts, after=self._swept_to,
        )  # fmt: skip
        self._swept_to = sweep.walked_to
        for due in sweep.due:
            self._keep_job(self._handle_in_place(due))
        return len(sweep.due)

    async def _handle_in_place(self, due: Due) -> None:
        place = self._places.use_swept(due.attachment.organization_id)
        try:
            await self._handle(due)
        finally:
            self._places.leave(place)

    async def _handle(self, due: Due) -> None:
        row = due.attachment
        try:
            match due.duty:
                case Duty.PROCESS:
                    await self._work(Claim(attachment=row))
                case Duty.PROBE if row.copy_key is not None:
                    self._copying.begin(row.id, row.organization_id, row.copy_attempt)
                case Duty.PROBE:
                    wake_up = await self._caretaker.settle(due)
                    if wake_up is not None:
                        claim = await self._database.run(
                            lifecycle.claim, row.id, wake_up.revision,
                            lease_s=self._settings.lease,
                        )  # fmt: skip
                        if claim is not None:
                            await self._work(claim)
                case Duty.PURGE:
                    await self._caretaker.settle(due)
                case Duty.GIVEN_UP:
                    log.warning("attempts used up", attachment=row.id, reason=row.reason)
        except DatabaseAway as error:
            # The row was put off by a lease and comes up again.
            self._throttle(f"{due.duty} put off", cause=str(error), attachment=row.id)
        except Exception:
            log.exception("unexpected error", attachment=row.id, duty=due.duty)
