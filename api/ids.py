"""Are the ids that the database hands out free in the bucket? Else no attachment is created.

The check runs once when a process starts, and then in the background until database and store have
both been asked and their answers decide it. `create_app` only carries its result; `api.__main__`
runs it.
"""

import asyncio
from contextlib import suppress

from api.problems import general
from shared.database import Database, DatabaseAway, DatabaseForbids
from shared.errors import IdsTaken, IdsUndecided, StoreError, StoreRefused, StoreUnavailable
from shared.log import get_logger
from shared.sequence import TakenId, find_taken_id
from shared.storage import Storage

START_S = 5.0
"""How long the start waits for the check. Later it goes on in the background."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
"""The pause before a further try doubles from the first to the longest."""

log = get_logger(__name__)


class IdCheck:
    """Whether new attachments may be created; they may until ids are found to be taken."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self.taken: TakenId | None = None
        self._warned = False

    def require_free(self) -> None:
        """Raise Problem 503 if ids that would be handed out are taken."""
        if self.taken is not None:
            raise general(503, headers={"Retry-After": "30"})

    def require_free_showing_why(self) -> None:
        """Do the same for operators: the answer names the cause and the remedy."""
        if self.taken is not None:
            raise general(503, str(self.taken), headers={"Retry-After": "30"})

    async def at_start(self) -> bool:
        """Check within START_S; returns whether the question is settled. Raises IdsTaken."""
        settled = False
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                settled = await self._settle()
        if self.taken is not None:
            raise IdsTaken(str(self.taken))
        return settled

    async def go_on(self) -> None:
        """Check again and again until database and store have been asked and the ids are free."""
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            before = self.taken
            try:
                settled = await self._settle()
            except Exception:  # whatever it is, the next look may succeed
                log.exception("the check of ids failed")
                continue
            if self.taken is not None and before is None:
                log.error("no attachments are created", cause=str(self.taken))
            if settled and self.taken is None:
                if before is not None:
                    log.info("attachments are created again")
                return

    async def _settle(self) -> bool:
        """Ask database and store once; returns whether that decided it, or it never can be."""
        try:
            self.taken = await find_taken_id(self._database, self._storage)
        except IdsUndecided as error:
            if not self._warned:
                self._warned = True
                log.warning("whether ids are free could not be decided yet", error=str(error))
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
