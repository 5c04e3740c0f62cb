"""Keep a process from using the bucket of another deployment; see `shared.bucket_owner`."""

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
"""The pause between reads of the marker while the bucket is ours: one GET for each process."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
"""Until the owner is known, and while the owner is another deployment, the pause doubles up to this
number of seconds."""

ASK_WITHIN_S: Final = 3.0
"""Seconds that a request waits for the check of the bucket if the check failed at the start."""

log = get_logger(__name__)


class BucketGuard:
    """The knowledge of one process about the owner of the bucket.

    If the service lacks the rights to find the owner, nothing is blocked; a warning is logged.
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

        That is so if the object existed before the row, or if it may be from the deployment that
        owned the bucket before.
        """
        return predates(found, row) or (
            self._owner is not None and self._owner.may_be_anothers(row, found)
        )

    def has_nothing_of(self, row: Attachment) -> bool:
        """Return whether the objects under a row's keys may belong to the bucket's former owner.

        If so, none of these objects may be removed.
        """
        return self._owner is not None and self._owner.may_be_anothers(row)

    def require_ours(self) -> None:
        """Raise BucketForeign if the bucket is known to be another deployment's; does no I/O."""
        if self.foreign is not None:
            raise BucketForeign(str(self.foreign))

    async def require_for_policies(self) -> None:
        """Raise BucketForeign as `require_ours`; call it before a policy is signed.

        Checks the bucket first if `at_start` could not, and no row shows that the bucket was ours
        before. An upload under our policy would overwrite the other deployment's object with the
        same key. Raises StoreUnavailable and DatabaseAway if the check does not end within
        ASK_WITHIN_S.
        """
        if self._is_unproven and not self._has_looked:
            try:
                async with store_limit(ASK_WITHIN_S):
                    await self.require_known_ours()
            except TimeoutError:
                raise StoreUnavailable(NO_ANSWER) from None
        self.require_ours()

    async def require_known_ours(self) -> None:
        """Raise BucketForeign as `require_ours`; check the bucket first if that was never done.

        Call it before an object is used for a row. Raises StoreUnavailable and DatabaseAway if the
        check fails now.
        """
        if not self._has_looked:
            asked_at = time.monotonic()
            async with self._looking:
                if not self._has_looked:
                    failed_at, failure = self._failed
                    if failure is not None and failed_at >= asked_at:  # failed while we waited
                        away = isinstance(failure, DatabaseAway)
                        raise (DatabaseAway if away else StoreUnavailable)(str(failure))
                    await self._look()
        self.require_ours()

    async def at_start(self, *, within_s: float) -> None:
        """Check the bucket within `within_s` seconds, else leave it to `watch`.

        If the check fails, rows show whether the bucket was ours before; reading them may take up
        to `within_s` seconds more. Raises BucketForeign.
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
        """Check the bucket now. Raises StoreUnavailable and DatabaseAway, with nothing changed."""
        async with self._looking:
            await self._look()

    async def watch(self) -> None:
        """Check the bucket repeatedly without end, and log what is found."""
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
            except Exception:  # a bug must not end the loop: the next check may succeed
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
