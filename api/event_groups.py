"""Record the messages of concurrent requests together, in one statement.

A store that is busy posts many events at once, mostly one per request. If each message had its own
statement, that would cost more CPU time than the rest of the request, and PostgreSQL would commit
once per message.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from shared import traces
from shared.database import Database
from shared.intake import Message, is_plain, record, split
from shared.lifecycle import Recorded
from shared.settings import Settings

MAX_MESSAGES: Final = 100
MAX_EVENTS: Final = 10
"""A group has up to MAX_MESSAGES messages of up to MAX_EVENTS events each. Stores send batches of
up to MAX_EVENTS events. A message with more events is recorded alone, because its statement already
costs little per event."""

ALONE_S: Final = 10.0
"""Time, in seconds, for which every message is recorded alone after a group has failed. So a
message that makes its group fail delays only a few other messages."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A message that waits for its group, with its deadline and its result."""

    message: Message
    ids: frozenset[int | None]
    ends: float
    recorded: "asyncio.Future[Recorded | None]"


class EventGroups:
    """Records messages, in groups if many come at one time.

    If fewer than `concurrent` statements run, a message is recorded at once. Otherwise it waits,
    and all messages that wait share the next statement.

    The effect is the same as if each message were recorded alone. All messages of a group are about
    different attachments. If a group fails, each of its messages is recorded alone. Three kinds of
    messages are always recorded alone: dead letters, probes, and messages of requests with a trace.
    """

    def __init__(self, database: Database, settings: Settings, *, concurrent: int) -> None:
        self._database = database
        self._settings = settings
        self._free = concurrent
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone_until = 0.0

    async def record(self, message: Message, *, may_be_kept: bool, ends: float) -> Recorded:
        """Record a message like `shared.intake.record`, before `ends` (monotonic seconds).

        Raises DatabaseAway like `Database.run_within`.
        """
        if not self._may_share(message):
            return await self._record([message], [may_be_kept], ends)
        if self._free <= 0:
            recorded = await self._join(message, ends)
            return recorded or await self._record([message], [may_be_kept], ends)
        self._free -= 1
        try:
            return await self._record([message], [may_be_kept], ends)
        finally:
            self._go_on()

    def _may_share(self, message: Message) -> bool:
        return (
            len(message.reading.events) <= MAX_EVENTS
            # a group belongs to several requests, so it could not store each request's trace
            and traces.recorder is None
            and is_plain(message)
            and time.monotonic() >= self._alone_until
        )

    async def _join(self, message: Message, ends: float) -> Recorded | None:
        """Let the next group record a message; return None if it failed or the time is up."""
        loop = asyncio.get_running_loop()
        recorded: asyncio.Future[Recorded | None] = loop.create_future()
        ids = frozenset(event.attachment_id for event in message.reading.events)
        self._waiting.append(_Waiting(message=message, ids=ids, ends=ends, recorded=recorded))
        timer = loop.call_later(ends - time.monotonic(), _settle, recorded, None)
        try:
            return await recorded
        finally:
            timer.cancel()

    def _go_on(self) -> None:
        """Start the next statement if messages wait. Called when a statement has ended."""
        self._free += 1
        if group := self._take_group():
            self._free -= 1
            # The context is empty, because the group belongs to no single request.
            task = asyncio.create_task(self._record_group(group), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        ids: set[int | None] = set()
        while self._waiting and len(group) < MAX_MESSAGES:
            if not ids.isdisjoint(self._waiting[0].ids):
                break
            waiting = self._waiting.popleft()
            if not waiting.recorded.done():  # skip a message whose request has ended
                ids |= waiting.ids
                group.append(waiting)
        return group

    async def _record_group(self, group: Sequence[_Waiting]) -> None:
        messages = [each.message for each in group]
        parts: Sequence[Recorded | None] = [None] * len(group)
        try:
            ends = min(each.ends for each in group)
            recorded = await self._record(messages, [False] * len(group), ends)
            parts = split(messages, recorded)
        except Exception:  # the cause is logged when each message is recorded alone
            self._alone_until = time.monotonic() + ALONE_S
        finally:
            for each, part in zip(group, parts, strict=True):
                _settle(each.recorded, part)
            self._go_on()

    async def _record(
        self, messages: Sequence[Message], kept: Sequence[bool], ends: float
    ) -> Recorded:
        within_s = ends - time.monotonic()
        return await self._database.run_within(within_s, record, messages, self._settings, kept)


def _settle(future: "asyncio.Future[Recorded | None]", result: Recorded | None) -> None:
    if not future.done():
        future.set_result(result)
