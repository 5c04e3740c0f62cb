"""The health of a process: whether it is alive, and whether the parts that it needs answer.

A process is alive if its event loop turns, which an answer proves, and if its periodic work ran
lately. A process that is stopped or stuck gives no answer, so a caller needs a timeout.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.database import Connection, Database
from shared.errors import AttachmentsError
from shared.outages import Outage
from shared.store_limits import NO_ANSWER, store_limit

Check = Callable[[], Awaitable[str | None]]
"""Asks a part; returns its fault, or None. Raises AttachmentsError, whose text is the fault."""

CHECK_S: Final = 3.0
"""Seconds in which a part must answer."""

CACHED_S: Final = 2.0
"""Seconds for which an answer of the parts is reused, so that frequent health checks cost the parts
little."""

NOT_YET: Final = "not yet"
"""The fault of a part that the start of the process still waits for."""


class Beat:
    """The sign of life of one piece of periodic work, which should beat every `within_s` seconds.

    While it waits on purpose, inside `resting`, no beat is expected.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._last = time.monotonic()
        self._resting = 0

    def beat(self) -> None:
        """Record that the work runs."""
        self._last = time.monotonic()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Expect no beat during the block."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            self.beat()

    @property
    def silent_s(self) -> float:
        """Seconds since the last beat, if that is longer than expected; else 0."""
        silent_s = time.monotonic() - self._last
        return 0.0 if self._resting or silent_s <= self._within_s else silent_s


Status = Literal["starting", "not ready", "ready", "stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The answer to the question whether a process is ready.

    `parts` holds `ok` or the fault of each part. `missing` names the parts without which the
    process cannot do its work, and which do not answer.
    """

    status: Status
    parts: dict[str, str]
    missing: tuple[str, ...]


@dataclass(slots=True)
class Health:
    """The state of one process's health.

    `step` names the part that the start of the process waits for, None once the start is complete.
    `stopping` is set when the process begins to stop. Both may be set in any thread.
    """

    step: str | None = None
    stopping: bool = False
    _beats: dict[str, Beat] = field(default_factory=dict)
    _needed: dict[str, Check] = field(default_factory=dict)
    _helpful: dict[str, Check] = field(default_factory=dict)
    _asked_at: float = -CACHED_S
    _answers: dict[str, str] = field(default_factory=dict)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def expect(self, name: str, *, within_s: float) -> Beat:
        """Return the beat of a piece of periodic work; it counts as beating now."""
        self._beats[name] = Beat(within_s)
        return self._beats[name]

    def need(self, name: str, check: Check) -> None:
        """Add a part without which this process cannot do its work."""
        self._needed[name] = check
        self._asked_at = -CACHED_S  # an earlier answer says nothing of this part

    def use(self, name: str, check: Check) -> None:
        """Add a part that is reported, and without which this process still does its work."""
        self._helpful[name] = check

    def faults(self) -> dict[str, str]:
        """Return the faults of a process that is not alive, by the name of the work; else empty."""
        return {
            name: f"did not run for {beat.silent_s:.0f} s"
            for name, beat in self._beats.items()
            if beat.silent_s
        }

    async def ask(self) -> Readiness:
        """Ask all parts whether they answer.

        An answer is reused for CACHED_S seconds, and concurrent callers share one answer.
        """
        async with self._asking:
            if time.monotonic() - self._asked_at >= CACHED_S:
                checks = {**self._needed, **self._helpful}
                found = await asyncio.gather(*(_ask(check) for check in checks.values()))
                self._answers = dict(zip(checks, found, strict=True))
                self._asked_at = time.monotonic()
        names = (*self._needed, *self._helpful)
        parts, step = {name: self._answers.get(name, NOT_YET) for name in names}, self.step
        if step is not None and parts.get(step, "ok") == "ok":
            parts[step] = NOT_YET
        missing = tuple(
            name
            for name, found in parts.items()
            if found != "ok" and (name in self._needed or name == step)
        )
        return Readiness(status=self._status(missing), parts=parts, missing=missing)

    def _status(self, missing: tuple[str, ...]) -> Status:
        if self.stopping:
            return "stopping"
        if not missing:
            return "ready"
        return "not ready" if self.step is None else "starting"


async def _ask(check: Check) -> str:
    try:
        async with store_limit(CHECK_S):
            return await check() or "ok"
    except TimeoutError:
        return NO_ANSWER
    except AttachmentsError as error:
        return str(error) or type(error).__name__


def answers(database: Database) -> Check:
    """Return the check that a database answers a statement."""

    async def check() -> str | None:
        await database.run_within(CHECK_S, _select_one)
        return None

    return check


async def _select_one(connection: Connection) -> None:
    await connection.execute("SELECT 1")


def reports(outage: Outage) -> Check:
    """Return the check of a part that is not asked: its fault is the outage that lasts."""

    async def check() -> str | None:
        return outage.away

    return check


def reads(read: Callable[[], Awaitable[object]]) -> Check:
    """Return the check that the store answers; `read` reads something from the bucket."""

    async def check() -> str | None:
        await read()
        return None

    return check
