"""Keep a process from using a bucket that another deployment owns; see `shared.bucket_owner`."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from shared.ages import predates
from shared.attachments import Attachment
from shared.bucket_owner import MARKER, Owner, claim_bucket, has_used
from shared.database import Database, DatabaseAway, DatabaseForbids
from shared.errors import BucketForeign, StoreError, StoreUnavailable
from shared.jitter import spread
from shared.log import get_logger
from shared.storage import Storage
from shared.store_limits import NO_ANSWER, store_limit
from shared.stored_objects import StoredObject

RECHECK_S: Final = 30.0
"""Seconds between two reads of the bucket's marker while this deployment owns the bucket. Each
process reads the marker by one GET."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
"""The longest pause, in seconds, between two checks while the owner is unknown or is another
deployment. The pause doubles after each check until it has this length."""

ASK_WITHIN_S: Final = 3.0
"""If the check at the start of the process failed, a request waits at most this many seconds for a
new check."""

log = get_logger(__name__)


class BucketGuard:
    """Keeps the last known owner of the bucket, and blocks work while another deployment owns it.

    If the service's rights do not suffice to find the owner, a warning is logged and nothing is
    blocked.
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._looking = asyncio.Lock()
        self._has_looked = False
        self._has_strangers = False
        self._is_unproven = False
        self._warned = False
        self._announced = False
        self._failed: tuple[float, Exception | None] = 0.0, None
        self._owner: Owner | None = None
        self.foreign: Owner | None = None

    def is_anothers(self, found: StoredObject, row: Attachment) -> bool:
        """Return whether the object under a row's key may belong to another row or deployment.

        Returns True if the object existed before the row, or if the deployment that owned the
        bucket before may have uploaded it.
        """
        return predates(found, row) or (
            self._owner is not None and self._owner.may_be_anothers(row, found)
        )

    def has_nothing_of(self, row: Attachment) -> bool:
        """Return whether the objects under a row's keys may belong to the bucket's former owner.

        If so, they must not be removed.
        """
        return self._owner is not None and self._owner.may_be_anothers(row)

    def require_ours(self) -> None:
        """Raise BucketForeign if another deployment is known to own the bucket. Does no I/O."""
        if self.foreign is not None:
            raise BucketForeign(str(self.foreign))

    async def require_for_policies(self) -> None:
        """Raise BucketForeign as `require_ours` does. Call it before a policy is signed.

        The bucket is checked first if `at_start` could not check it and no row proves that this
        deployment used it before. Without this check, an upload could overwrite another
        deployment's object with the same key. Raises StoreUnavailable or DatabaseAway if the check
        fails or takes longer than ASK_WITHIN_S.
        """
        if self._is_unproven and not self._has_looked:
            try:
                async with store_limit(ASK_WITHIN_S):
                    await self.require_known_ours()
            except TimeoutError:
                raise StoreUnavailable(NO_ANSWER) from None
        self.require_ours()

    async def require_known_ours(self) -> None:
        """Raise BucketForeign as `require_ours` does. Call it before an object is used for a row.

        If the bucket was never checked, it is checked first. Raises StoreUnavailable or
        DatabaseAway if that check fails.
        """
        if not self._has_looked:
            asked_at = time.monotonic()
            async with self._looking:
                if not self._has_looked:
                    failed_at, failure = self._failed
                    # another caller's check has just failed
                    if failure is not None and failed_at >= asked_at:
                        away = isinstance(failure, DatabaseAway)
                        raise (DatabaseAway if away else StoreUnavailable)(str(failure))
                    await self._look()
        self.require_ours()

    async def at_start(self, *, within_s: float) -> None:
        """Check the bucket for up to `within_s` seconds. If that fails, `watch` checks again later.

        If the check fails, rows are read to see whether this deployment used the bucket before;
        this may take up to `within_s` seconds more. Raises BucketForeign if another deployment owns
        the bucket.
        """
        with suppress(TimeoutError, StoreUnavailable, DatabaseAway):
            async with store_limit(within_s):
                await self.look()
        if not self._has_looked:
            self._is_unproven = True
            with suppress(TimeoutError, DatabaseAway):
                async with asyncio.timeout(within_s):
                    run, bucket = self._database.run, self._storage.bucket
                    self._is_unproven = not await run(has_used, bucket)
        self.require_ours()

    async def look(self) -> None:
        """Check the bucket now. If StoreUnavailable or DatabaseAway is raised, nothing changes."""
        async with self._looking:
            await self._look()

    async def watch(self) -> None:
        """Check the bucket again and again without end, and log changes of the owner."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._announce()
            if self._has_looked and self.foreign is None:
                pause_s = RECHECK_S
            await asyncio.sleep(spread(pause_s))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            try:
                await self.look()
            except (StoreUnavailable, DatabaseAway):
                continue  # the earlier result stays valid
            except Exception:  # a bug must not end the loop, because the next check may succeed
                log.exception("the owner of the bucket could not be read")

    def _announce(self) -> None:
        if self._has_strangers:
            self._warn(
                "the bucket has no marker, and holds originals that no row describes: it may be"
                " another deployment's; run `attachments reconcile --mend` if it is not",
                bucket=self._storage.bucket,
                marker=MARKER,
            )
        if self.foreign is not None and not self._announced:
            log.error(
                "the bucket belongs to another deployment: nothing is done in it",
                cause=str(self.foreign),
            )
        elif self.foreign is None and self._announced:
            log.info("the bucket belongs to this deployment again", bucket=self._storage.bucket)
        self._announced = self.foreign is not None

    async def _look(self) -> None:
        try:
            found = await claim_bucket(self._database, self._storage)
        except DatabaseForbids as error:
            self._leave_undecided(error)
        except (StoreUnavailable, DatabaseAway) as error:
            self._failed = time.monotonic(), error
            raise
        except StoreError as error:
            self._leave_undecided(error)
        else:
            self._has_looked = True
            self._has_strangers = found.has_strangers
            self._owner = found
            self.foreign = found if found.is_foreign else None

    def _leave_undecided(self, error: Exception) -> None:
        self._has_looked = True
        self._warn(
            "whose the bucket is cannot be found out: s3:GetObject and s3:PutObject on its marker,"
            " s3:ListBucket on the bucket, and SELECT and INSERT on the table deployment are"
            " needed",
            error=str(error) or type(error).__name__,
            marker=MARKER,
        )

    def _warn(self, event: str, **fields: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(event, **fields)
