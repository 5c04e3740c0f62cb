"""Remove the objects of an attachment permanently: in a versioned bucket, all their versions.

In a versioned bucket, a DELETE without a version only adds a delete marker and keeps all bytes.
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
from shared.styles import named_keys, read_styles

REMEMBERED_S = 300.0
"""Seconds for which the answer "not versioned" is cached. The answer "versioned" is cached without
end, because versioning can be suspended but not undone (Amazon S3 User Guide, "Using
versioning")."""

MAX_VERSIONS = 1000
"""The number of versions in one listing, which is one page of S3."""

UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed")
"""The error codes of stores that do not support GetBucketVersioning, and so have no versions."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A listing of all keys that begin with `prefix`. Only objects with one of `keys` are removed.

    `current` are the keys that may have an object in a bucket without versions.
    """

    prefix: str
    keys: Collection[str]
    current: Collection[str]


def listings_of(row: Attachment) -> tuple[Listing, ...]:
    """Return the listings of an attachment: for its original, and for thumbnails in each style.

    The row names all styles that the attachment ever had, including those that are no longer
    configured.
    """
    named = named_keys(row)
    return (
        Listing(prefix=row.key, keys={row.key}, current=(row.key,)),
        *(
            _of_style(row, style, named.get(style))
            for style in dict.fromkeys((keys.THUMB, *read_styles(row.styles)))
        ),
    )


def _of_style(row: Attachment, style: str, named: str | None) -> Listing:
    possible = keys.style_keys(row.key, style)
    folder = keys.style_key(row.key, style).rpartition("/")[0]
    current = () if named is None else (named,)
    return Listing(prefix=f"{folder}/", keys={*possible, *current}, current=current)


class Eraser:
    """Removes objects from one bucket, and caches whether the bucket is versioned.

    Every method may be repeated. Every method raises StoreUnavailable, or StoreRefused with the
    name of the missing right if it is known.
    """

    def __init__(self, storage: Storage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._versioned: bool | None = None
        self._ask_again_at = float("-inf")

    async def keeps_versions(self) -> bool | None:
        """Return whether the bucket keeps versions, or None if the service may not ask that.

        To ask, the service needs the right s3:GetBucketVersioning. It asks at most once in
        REMEMBERED_S seconds.
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
        listings: Collection[Listing],
        *,
        row_age_s: Callable[[], float],
        give_up_at: float = float("inf"),
    ) -> bool:
        """Remove every version of the keys of some listings. Returns whether nothing is left to do.

        Stops at `give_up_at`, in seconds of `time.monotonic`. An object that is older than the row
        (see `shared.ages`) belongs to another attachment and is not removed. In a bucket without
        versions this takes up to two calls for each key: HEAD, and DELETE if there is an object.
        """
        versioned = await self.keeps_versions()
        if not versioned:
            for listing in listings:
                for key in listing.current:
                    if await self._erase_object(key, row_age_s, sure=versioned is False):
                        # DELETE added a delete marker, so the bucket is versioned.
                        self._versioned = versioned = True
        if not versioned:
            return True
        ended = [await self._erase_versions(each, row_age_s, give_up_at) for each in listings]
        return all(ended)

    async def _erase_object(self, key: str, row_age_s: Callable[[], float], *, sure: bool) -> bool:
        """Remove the object under a key. Returns whether that only added a delete marker.

        `sure` means that the bucket is known to have no versions. If it is false, a missing object
        may be a delete marker, so DELETE is sent although HEAD found nothing.
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
        self, listing: Listing, row_age_s: Callable[[], float], give_up_at: float
    ) -> bool:
        """Remove the versions of one listing. Returns whether no version is left to remove.

        The result is not checked by a second listing, because SeaweedFS 4.48 still lists some
        delete markers whose removal it has confirmed.
        """
        with _naming("s3:ListBucketVersions"):
            listed = await self._storage.versions(listing.prefix, limit=MAX_VERSIONS)
        removed, kept = 0, set()
        # Delete markers are removed last. Without its marker, an old version would become the
        # current object again. For the same reason, the marker of a key stays while a version of
        # the key stays.
        for version in sorted(listed, key=lambda version: version.is_marker):
            if self._clock() >= give_up_at:
                return False
            if version.key not in listing.keys or (version.is_marker and version.key in kept):
                continue
            if _stays(version.key, version.age_s, row_age_s()):
                kept.add(version.key)
                continue
            with _naming("s3:DeleteObjectVersion"), suppress(ObjectMissing):
                await self._storage.delete(version.key, version_id=version.version_id)
            removed += 1
        for key in listing.current:
            # SeaweedFS 4.48 does not list the object `x.versions` while versioning is suspended.
            await self._erase_object(key, row_age_s, sure=True)
        # A listing begins with the newest versions of a key. So if a full listing has no version to
        # remove, none of the older versions has to be removed.
        return len(listed) < MAX_VERSIONS or not removed


def _stays(key: str, object_age_s: float | None, row_age_s: float) -> bool:
    if not is_older_than_row(object_age_s, row_age_s):
        return False
    log.warning("object is older than its row: not removed", key=key, age_s=object_age_s)
    return True


@contextmanager
def _naming(right: str) -> Iterator[None]:
    """If the store refuses a call in the block, add the name of the missing right to the error."""
    try:
        yield
    except StoreRefused as error:
        raise StoreRefused(f"{error}: {right} is needed") from error
