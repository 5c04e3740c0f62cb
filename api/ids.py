"""Check that the bucket has no originals with the ids that the database will assign next.

Such ids are called taken. They exist, for example, after a restore of an older database. Then no
attachment is created. The check runs when a process starts. If it has no result, it is repeated in
the background until the database and the store have both answered. `create_app` only keeps the
result; `api.__main__` runs the check.
"""

import asyncio
from contextlib import suppress

from api.problems import general
from shared.database import Database, DatabaseAway, DatabaseForbids
from shared.errors import IdsTaken, IdsUndecided, StoreError, StoreRefused, StoreUnavailable
from shared.log import get_logger
from shared.sequence import TakenId, find_taken_id
from shared.storage import Storage
from shared.store_limits import store_limit

START_S = 5.0
"""Time, in seconds, that the start waits for the check. After that, the check continues in the
background."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
"""Pause before a retry, in seconds: FIRST_PAUSE_S at first, then doubled up to LONGEST_PAUSE_S."""

log = get_logger(__name__)


class IdCheck:
    """Decides whether attachments may be created. They may, unless a check found a taken id."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self.taken: TakenId | None = None
        self._warned = False

    def require_free(self) -> None:
        """Raise Problem 503 if the ids that the database assigns next are taken in the bucket."""
        if self.taken is not None:
            raise general(503, headers={"Retry-After": "30"})

    def require_free_showing_why(self) -> None:
        """Do the same as `require_free`, but name the cause and the remedy, for operators."""
        if self.taken is not None:
            raise general(503, str(self.taken), headers={"Retry-After": "30"})

    async def at_start(self) -> bool:
        """Check once, for at most START_S. Returns True if no retry is needed. Raises IdsTaken."""
        settled = False
        with suppress(TimeoutError):
            async with store_limit(START_S):
                settled = await self._settle()
        if self.taken is not None:
            raise IdsTaken(str(self.taken))
        return settled

    async def go_on(self) -> None:
        """Repeat the check until the database and the store have answered and the ids are free."""
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            before = self.taken
            try:
                settled = await self._settle()
            except Exception:  # even after an unknown error, the next check may succeed
                log.exception("the check of ids failed")
                continue
            if self.taken is not None and before is None:
                log.error("no attachments are created", cause=str(self.taken))
            if settled and self.taken is None:
                if before is not None:
                    log.info("attachments are created again")
                return

    async def _settle(self) -> bool:
        """Check the ids once.

        Returns True if the result is certain, or if rights are missing, because then a retry cannot
        help. Returns False if a retry may help.
        """
        try:
            self.taken = await find_taken_id(self._database, self._storage)
        except IdsUndecided as error:
            if not self._warned:
                self._warned = True
                log.warning("the check of ids was undecided", error=str(error))
            return False
        except (StoreRefused, DatabaseForbids) as error:
            log.warning(
                "ids are not checked: s3:ListBucket on the bucket and SELECT on the sequence of"
                " attachments.id are needed",
                error=str(error) or type(error).__name__,
            )
        except (DatabaseAway, StoreUnavailable):
            return False
        except StoreError as error:
            log.warning("ids are not checked", error=type(error).__name__)
        return True
