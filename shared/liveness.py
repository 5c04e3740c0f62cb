"""The health of a process: whether it is alive, and whether it is ready.

A process is alive if its event loop runs and its periodic work ran lately. An answer to a health
check proves that the loop runs. A process that is stopped or stuck does not answer, so the caller
needs a timeout. A process is ready if the parts that it needs, such as the database, answer.
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
"""A function that asks a part, such as the database or the store. It returns the part's fault, or
None. It may also raise AttachmentsError, whose text is the fault."""

CHECK_S: Final = 3.0
"""The time limit for a part's answer, in seconds."""

CACHED_S: Final = 2.0
"""Seconds for which the answers of the parts are reused, so that frequent health checks do not load
the parts."""

NOT_YET: Final = "not yet"
"""The fault that is shown for a part while the process waits for the part during its start."""


class Beat:
    """Records when one periodic task of the process last ran. It should run every `within_s`
    seconds.

    Inside `resting` the task waits on purpose, and need not run.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._last = time.monotonic()
        self._resting = 0

    def beat(self) -> None:
        """Record that the task has run now."""
        self._last = time.monotonic()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Expect no `beat` during the `with` block."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            self.beat()

    @property
    def silent_s(self) -> float:
        """Seconds since the last `beat`, if they are more than `within_s`; else 0."""
        silent_s = time.monotonic() - self._last
        return 0.0 if self._resting or silent_s <= self._within_s else silent_s


Status = Literal["starting", "not ready", "ready", "stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a process is ready.

    `parts` has `ok` or the fault of each part. `missing` names the parts that do not answer, and
    without which the process cannot do its work.
    """

    status: Status
    parts: dict[str, str]
    missing: tuple[str, ...]


@dataclass(slots=True)
class Health:
    """The health of one process, with its periodic tasks and the parts that it uses.

    `step` names the part that the start of the process waits for; None after the start. `stopping`
    is set when the process begins to stop. Both fields may be set in any thread.
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
        """Return the Beat of a new periodic task. The task counts as having run just now."""
        self._beats[name] = Beat(within_s)
        return self._beats[name]

    def need(self, name: str, check: Check) -> None:
        """Add a part that this process needs for its work."""
        self._needed[name] = check
        self._asked_at = -CACHED_S  # stored answers do not include this part

    def use(self, name: str, check: Check) -> None:
        """Add a part that is reported, but that this process can work without."""
        self._helpful[name] = check

    def faults(self) -> dict[str, str]:
        """Return the fault of each periodic task that does not run; an empty dict if all run."""
        return {
            name: f"did not run for {beat.silent_s:.0f} s"
            for name, beat in self._beats.items()
            if beat.silent_s
        }

    async def ask(self) -> Readiness:
        """Ask all parts whether they answer.

        The answers are reused for CACHED_S seconds, and concurrent callers share them.
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
    """Return a check whether the database answers a statement."""

    async def check() -> str | None:
        await database.run_within(CHECK_S, _select_one)
        return None

    return check


async def _select_one(connection: Connection) -> None:
    await connection.execute("SELECT 1")


def reports(outage: Outage) -> Check:
    """Return a check that sends no request: it returns the cause of the present outage, or None."""

    async def check() -> str | None:
        return outage.away

    return check


def reads(read: Callable[[], Awaitable[object]]) -> Check:
    """Return a check whether the store answers; `read` reads something from the bucket."""

    async def check() -> str | None:
        await read()
        return None

    return check
