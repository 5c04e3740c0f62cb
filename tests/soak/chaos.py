"""The injection of the planned faults into the running processes, during the uploads."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # it ships none
import redis.asyncio
from redis.exceptions import RedisError

from tests.soak.plan import Fault
from tests.soak.restarted import Kept
from tests.soak.soak_site import Site
from tests.support.decoders import find_decoders

POLL_S = 0.05
PATIENCE_S = 20.0
"""The seconds for which a fault waits for a suitable process. After that, the fault is left out."""


class Chaos:
    """Injects the planned faults. `done` counts the injected faults by kind."""

    def __init__(self, site: Site, faults: Sequence[Fault]) -> None:
        self._site = site
        self._faults = faults
        self._freezes: set[asyncio.Task[None]] = set()
        self._orphaned: list[psutil.Process] = []
        self.done: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    async def run(self, progress: Callable[[], float], over: asyncio.Event) -> None:
        """Inject each fault when `progress` returns at least the fault's `at`.

        `progress` returns the fraction of the uploads that have ended. After `over` is set, the
        remaining faults are left out.
        """
        for fault in self._faults:
            while progress() < fault.at and not over.is_set():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(POLL_S)
            if progress() < fault.at:
                self.left_out[fault.kind] += 1
                continue
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._inject(fault)
            except TimeoutError:
                self.left_out[fault.kind] += 1
            else:
                self.done[fault.kind] += 1
        if self._freezes:
            await asyncio.wait(self._freezes)

    async def _inject(self, fault: Fault) -> None:
        action, _, target = fault.kind.partition(" ")
        match action, target:
            case "kill", "decoder":
                await self._kill_decoder(fault.pick)
            case "kill", _:
                part = await self._living(target, fault.pick)
                orphaned = decoders(part)
                part.kill()
                self._orphaned += orphaned
            case "freeze", _:
                part = await self._living(target, fault.pick)
                part.freeze()
                freeze = asyncio.create_task(asyncio.sleep(fault.lasts_s))
                self._freezes.add(freeze)
                # A callback thaws the process even if the task is cancelled before it has started.
                freeze.add_done_callback(lambda _: part.thaw())
                freeze.add_done_callback(self._freezes.discard)
            case "flush", _:
                await self._flush()
            case _:
                raise AssertionError(fault.kind)

    def outlived(self) -> list[int]:
        """Return the process ids of decoders that still run although their worker was killed."""
        return [process.pid for process in self._orphaned if _runs(process)]

    async def _living(self, target: str, pick: float) -> Kept:
        while True:
            parts = [
                part
                for name, part in self._site.kept.items()
                if name.partition("-")[0] == target and part.alive
            ]
            if parts:
                return parts[int(pick * len(parts))]
            await asyncio.sleep(POLL_S)

    async def _kill_decoder(self, pick: float) -> None:
        while True:
            found = [decoder for worker in self._site.workers for decoder in decoders(worker)]
            if found:
                with suppress(psutil.NoSuchProcess):
                    found[int(pick * len(found))].send_signal(signal.SIGKILL)
                    return
            await asyncio.sleep(POLL_S)

    async def _flush(self) -> None:
        while True:
            try:
                async with redis.asyncio.from_url(self._site.stack.valkey.url) as client:
                    await client.flushall()
                    return
            except (RedisError, OSError):  # another fault stopped the broker
                await asyncio.sleep(POLL_S)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def decoders(worker: Kept) -> list[psutil.Process]:
    """Return the decoders of a process, the oldest first. Only workers have decoders."""
    if worker.child is None or not worker.alive:
        return []
    return find_decoders(worker.child.pid)
