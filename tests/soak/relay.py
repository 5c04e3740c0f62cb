"""A relay of events from the store to the APIs. It may lose, duplicate, delay or reorder events.

An event goes to any API that answers, as with a load balancer. The store gets the API's status.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import aiohttp
from aiohttp import web

from tests.soak.plan import Odds, draw_fate
from tests.support.stack import EventRelay

NUMBERED = re.compile(r"/(original|thumb)/[^/]*?(\d{7})\.[A-Za-z]+$")
TIMEOUT_S = 5.0
TRIES = 12
SHUFFLED_AT_ONCE = 8
LONGEST_WAIT_S = 3.0
"""The longest time in seconds for which an event is held back, so that another one overtakes it."""


class SoakRelay(EventRelay):
    """A relay that decides from a seed how it treats each event, until `calm` is set."""

    def __init__(self, seed: int, odds: Odds, log: Path) -> None:
        super().__init__()
        self._log = log.open("a", buffering=1)
        self.targets: Sequence[str] = ()
        self.counts: Counter[str] = Counter()
        self.lost: set[int] = set()
        self.calm = False
        self._seed, self._odds = seed, odds
        self._report: Counter[str] = Counter()
        self._turn = 0
        self._shuffled: list[bytes] = []
        self._random = Random(f"{seed}/shuffle")
        self._late: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Stop listening. Delayed events are lost."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await super().stop()
        self._log.close()

    async def drain(self) -> None:
        """Forward every event from now on, and wait until each delayed event is sent or
        given up.
        """
        self.calm = True
        while self._late:
            await asyncio.wait(self._late)

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        key = str(json.loads(body).get("key", ""))
        match = NUMBERED.search(key)
        if not self.targets:  # at its start, the store sends test events
            return web.Response()
        if self.calm or match is None:
            return web.Response(status=await self._forward(body))
        style, number = match[1], int(match[2])
        about = f"{style}/{number}"
        fate = draw_fate(self._seed, f"{about}/{self._report[about]}", self._odds)
        if fate.kind in ("forward", "duplicate"):
            status = await self._forward(body)
            if status != 200:
                # SeaweedFS 4.48 does not retry, even if its settings require it. So the event is
                # lost.
                self._note(f"refused {key}")
                self._lose(style, number)
                self.counts["refused"] += 1
                return web.Response(status=status)
        self._report[about] += 1
        self.counts[fate.kind] += 1
        self._note(f"{fate.kind} {fate.delay_s:.1f} {key}")
        if fate.kind == "drop":
            self._lose(style, number)
        if fate.kind in ("duplicate", "delay"):
            self._later(self._deliver(body, fate.delay_s))
        if fate.kind == "shuffle":
            self._shuffled.append(body)
            if len(self._shuffled) >= SHUFFLED_AT_ONCE:
                self._later(self._let_go(0))
            else:
                self._later(self._let_go(LONGEST_WAIT_S))
        return web.Response()

    def _lose(self, style: str, number: int) -> None:
        if style == "original":
            self.lost.add(number)

    def _note(self, words: str) -> None:
        self._log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {words}\n")

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _let_go(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        bodies, self._shuffled = self._shuffled, []
        self._random.shuffle(bodies)
        for body in bodies:
            await self._deliver(body, 0)

    async def _deliver(self, body: bytes, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        for attempt in range(TRIES):
            if await self._forward(body) == 200:
                return
            await asyncio.sleep(min(0.5 * 2**attempt, 10))
        self.counts["given up"] += 1
        self._note(f"given up {body[:200]!r}")

    async def _forward(self, body: bytes) -> int:
        """Post to the APIs in turn until one accepts. Return 200, or 503 if no API accepts."""
        self._turn += 1
        first = self._turn % len(self.targets)
        for target in (*self.targets[first:], *self.targets[:first]):
            self.target = target
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    status = await self.post(body)
            except (TimeoutError, OSError, aiohttp.ClientError):
                status = 0
            if 200 <= status < 300:
                return 200
            self.counts[f"answered {status}" if status else "not answered"] += 1
        return 503
