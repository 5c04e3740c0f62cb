"""Remove the objects of an attachment for good: in a versioned bucket, every version of them.

A plain DELETE in a versioned bucket only puts a delete marker on top, and all bytes stay.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from shared import keys
from shared.ages import is_older_than_row
from shared.attachments import Attachment
from shared.errors import ObjectMissing, StoreRefused
from shared.log import get_logger
from shared.storage import Storage

REMEMBERED_S = 300.0
"""How long an answer is relied on that the bucket is not versioned. Once versioned it always is:
versioning can be suspended, but not undone (Amazon S3 User Guide, "Using versioning")."""

MAX_VERSIONS = 1000
"""How many versions are listed in one go: one page of S3."""

UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed")
"""How a store says that it does not have a call; without this one it has no versions either."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to look: one listing by `prefix`, of which nothing but `keys` is touched.

    `current` are those of `keys` that may have an object in a bucket without versions.
    """

    prefix: str
    keys: Collection[str]
    current: Collection[str]


def places_of(row: Attachment) -> tuple[Place, Place]:
    """Give the places of an attachment: its original, and every thumbnail it may have had."""
    thumbnails = keys.thumbnail_keys(row.key)
    current = () if row.thumbnail_key is None else (row.thumbnail_key,)
    folder = keys.thumbnail_key(row.key).rpartition("/")[0]
    return (
        Place(prefix=row.key, keys={row.key}, current=(row.key,)),
        Place(prefix=f"{folder}/", keys={*thumbnails, *current}, current=current),
    )


class Eraser:
    """Removes objects of one bucket, and remembers whether it is versioned.

    Raises StoreUnavailable and StoreRefused, naming the right that is missing where it can; all
    may be repeated.
    """

    def __init__(self, storage: Storage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._versioned: bool | None = None
        self._ask_again_at = float("-inf")

    async def keeps_versions(self) -> bool | None:
        """Return whether the bucket keeps versions; None where s3:GetBucketVersioning is missing.

        One call in REMEMBERED_S at most.
        """
        if not self._versioned and self._clock() >= self._ask_again_at:
            try:
                self._versioned = await self._storage.keeps_versions()
            except StoreRefused as error:
                self._versioned = False if str(error) in UNKNOWN_CALL else None
            except ObjectMissing:  # no versioning was ever configured
                self._versioned = False
            self._ask_again_at = self._clock() + REMEMBERED_S
        return self._versioned

    async def erase(
        self,
        places: Collection[Place],
        *,
        row_age_s: Callable[[], float],
        give_up_at: float = float("inf"),
    ) -> bool:
        """Remove every version of the keys of some places; returns whether nothing is left to do.

        After `give_up_at`, by `time.monotonic`, no further version is removed. What is older than
        the row (see `shared.ages`) is another attachment's and stays. Without versions this takes
        up to two calls a key: HEAD, and DELETE where there is an object.
        """
        versioned = await self.keeps_versions()
        if not versioned:
            for place in places:
                for key in place.current:
                    if await self._erase_object(key, row_age_s, sure=versioned is False):
                        # The answer tells what we may not ask for.
                        self._versioned = versioned = True
        if not versioned:
            return True
        ended = [await self._erase_versions(place, row_age_s, give_up_at) for place in places]
        return all(ended)

    async def _erase_object(self, key: str, row_age_s: Callable[[], float], *, sure: bool) -> bool:
        """Remove what is under a key; returns whether that only put a delete marker on top.

        Where it is not sure that there are no versions, a missing object may be a marker.
        """
        try:
            found = await self._storage.head(key)
        except ObjectMissing:
            if sure:
                return False
        else:
            if _stays(key, found.age_s, row_age_s()):
                return False
        with _naming("s3:DeleteObject"):
            return await self._storage.delete(key)

    async def _erase_versions(
        self, place: Place, row_age_s: Callable[[], float], give_up_at: float
    ) -> bool:
        """Remove the versions that one listing gives; returns whether those were all.

        One pass, without a second look: SeaweedFS 4.48 keeps some delete markers whatever it
        answers.
        """
        with _naming("s3:ListBucketVersions"):
            listed = await self._storage.versions(place.prefix, limit=MAX_VERSIONS)
        removed, kept = 0, set()
        # Markers last: without its marker an old version would be the current object again. So it
        # stays where one of the versions under it does.
        for version in sorted(listed, key=lambda version: version.is_marker):
            if self._clock() >= give_up_at:
                return False
            if version.key not in place.keys or (version.is_marker and version.key in kept):
                continue
            if _stays(version.key, version.age_s, row_age_s()):
                kept.add(version.key)
                continue
            with _naming("s3:DeleteObjectVersion"), suppress(ObjectMissing):
                await self._storage.delete(version.key, version_id=version.version_id)
            removed += 1
        for key in place.current:
            # SeaweedFS 4.48 does not list the object `x.versions` while versioning is suspended.
            await self._erase_object(key, row_age_s, sure=True)
        # If a full listing holds nothing to remove, there is nothing to remove at all: the newest
        # versions of a key come first.
        return len(listed) < MAX_VERSIONS or not removed


def _stays(key: str, object_age_s: float | None, row_age_s: float) -> bool:
    if not is_older_than_row(object_age_s, row_age_s):
        return False
    log.warning("object is older than its row: not removed", key=key, age_s=object_age_s)
    return True


@contextmanager
def _naming(right: str) -> Iterator[None]:
    """Add the right that a call needs to a refusal."""
    try:
        yield
    except StoreRefused as error:
        raise StoreRefused(f"{error}: {right} is needed") from error
