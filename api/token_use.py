"""Collect in memory when tokens were last used, and write these times in the background."""

import asyncio
import time
from collections.abc import Callable

from shared.database import Database, DatabaseAway
from shared.log import get_logger
from shared.tokens import record_use

WRITE_EVERY_S = 60.0
"""Minimum time, in seconds, between two writes of the same token's use by one process."""
CHECK_EVERY_S = 2.0
MAX_TOKENS = 10_000
LAST_WRITE_TIMEOUT_S = 1.0

log = get_logger(__name__)


class TokenUse:
    """The uses of tokens that are not written yet. `clock` returns monotonic seconds."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._used: dict[int, float] = {}
        self._written: dict[int, float] = {}
        self._not_before = 0.0

    def note(self, token_id: int) -> None:
        """Record in memory that a token is used now."""
        if token_id in self._used or len(self._used) < MAX_TOKENS:
            self._used[token_id] = self._clock()

    async def run(self) -> None:
        """Call `write_due` every CHECK_EVERY_S seconds until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            await self.write_due()

    async def write_due(self) -> None:
        """Write in one statement which tokens were used.

        If a token's use was written less than a minute ago, it is written later. If the database is
        unavailable, the next attempt is a minute later.
        """
        now = self._clock()
        if now < self._not_before:
            return
        for token_id in [each for each, at in self._written.items() if now >= at + WRITE_EVERY_S]:
            del self._written[token_id]
        due = {each: at for each, at in self._used.items() if each not in self._written}
        if not due:
            return
        try:
            await self._database.run(record_use, {each: now - at for each, at in due.items()})
        except DatabaseAway:
            self._not_before = now + WRITE_EVERY_S
            return
        except Exception:  # the task must continue even after a bug
            log.exception("the last uses of tokens cannot be written")
            self._not_before = now + WRITE_EVERY_S
            return
        for token_id, at in due.items():
            self._written[token_id] = now
            if self._used[token_id] == at:
                del self._used[token_id]

    async def write_rest(self) -> None:
        """Write all remaining uses when the process ends. Gives up after a second."""
        now = self._clock()
        ages_s = {token_id: now - at for token_id, at in self._used.items()}
        if ages_s:
            try:
                await self._database.run_within(LAST_WRITE_TIMEOUT_S, record_use, ages_s)
            except DatabaseAway:
                log.info("the last uses of tokens were not written", tokens=len(ages_s))
