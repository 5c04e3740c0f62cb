"""The owner of a bucket: a marker object holds the id of the deployment that owns the bucket.

Every deployment counts its ids from 1, so two deployments use the same keys. If an upload of one
deployment is newer than a row of the other, the ages of object and row do not show which deployment
uploaded the object. So a bucket has one owner, and other deployments do nothing in it.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Final

from shared import keys
from shared.attachments import Attachment, find_rows
from shared.database import Connection, Database
from shared.deployment import deployment_id
from shared.errors import ObjectEmpty, ObjectMissing, StoreRefused, StoreUnavailable
from shared.sequence import find_greatest_row
from shared.storage import Storage
from shared.stored_objects import StoredObject

MARKER: Final = f"{keys.PREFIX}deployment"
"""The key of the marker object. No attachment has this key, because `deployment` does not have the
form of an id. The key begins with the prefix of uploads: so the rights for uploads suffice, and no
client can copy the marker."""

MARKER_TYPE: Final = "text/plain"
UNREADABLE: Final = "unknown"
"""The owner's id that is assumed if the marker's content is not an id."""

SETTLE_S: Final = 2.0
"""Seconds to wait after writing a marker in a store that ignores `If-None-Match`. If several
deployments write at the same moment, the last one becomes the owner. After this time all of them
have written, so the marker is read again to find the owner."""

MAX_PAGES: Final = 10
"""In a bucket without a marker, at most this many pages of keys are searched for originals."""

_CONTENT = re.compile(r"([0-9a-f]{32})(?:\n([0-9]{1,19}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of a bucket.

    `ours` is the id of this deployment. `theirs` is the id in the marker, or None if the bucket has
    no marker.

    `has_strangers` is true if the bucket has originals but no marker, and no row of this database
    describes any of these originals. A deployment of an old release, which wrote no marker, may own
    such a bucket.

    `taken_at` is the greatest id of a row when the bucket was taken over from another deployment,
    or 0. Objects of that deployment may have the keys of rows up to that id.
    """

    bucket: str
    ours: str
    theirs: str | None
    taken_at: int = 0
    has_strangers: bool = False

    @property
    def is_foreign(self) -> bool:
        """True if the bucket belongs to another deployment."""
        return self.theirs not in (None, self.ours)

    def may_be_anothers(self, row: Attachment, found: StoredObject | None = None) -> bool:
        """Return whether an object under a row's key may be the former owner's.

        Returns False if a worker has processed the row: the object is then the row's own. But if
        `found` is given and has another etag than the row, the result may be True.
        """
        own = row.processed_at is not None and (found is None or row.etag == found.etag)
        return row.id <= self.taken_at and not own

    def __str__(self) -> str:
        if not self.is_foreign:
            return f"bucket {self.bucket} belongs to this deployment, {self.ours}"
        return (
            f"bucket {self.bucket} belongs to deployment {self.theirs} (its object"
            f" {MARKER} names it), but this database is of deployment {self.ours}: name another"
            " bucket in ATTACHMENTS_S3_BUCKET; or, if this database replaces the other one after a"
            " restore, end all processes of the other and run `attachments reconcile --mend`, which"
            " takes the bucket over"
        )


async def find_owner(database: Database, storage: Storage) -> Owner:
    """Return the owner of the bucket, without writing anything.

    Raises StoreRefused if s3:GetObject on the marker is forbidden, or s3:ListBucket in a bucket
    without a marker. Raises other StoreErrors and DatabaseAway as well.
    """
    ours = await database.run(deployment_id)
    theirs, taken_at = await read_marker(storage)
    return Owner(
        bucket=storage.bucket,
        ours=ours,
        theirs=theirs,
        taken_at=taken_at,
        has_strangers=theirs is None and await _has_strangers(database, storage),
    )


async def has_used(connection: Connection, bucket: str) -> bool:
    """Return whether a worker of this deployment has read a file in the bucket.

    Only the last 1000 rows are looked at.
    """
    found = await connection.fetchval(
        "SELECT bool_or(a.processed_at IS NOT NULL) FROM (SELECT bucket, processed_at"
        " FROM attachments ORDER BY id DESC LIMIT 1000) AS a WHERE a.bucket = $1",
        bucket,
    )
    return bool(found)


async def find_other_bucket(connection: Connection, bucket: str) -> str | None:
    """Return the bucket of the oldest or newest row if that is not `bucket`; else None."""
    found = await connection.fetchval(
        "SELECT bucket FROM ((SELECT bucket FROM attachments ORDER BY id LIMIT 1)"
        " UNION ALL (SELECT bucket FROM attachments ORDER BY id DESC LIMIT 1)) AS rows"
        " WHERE bucket <> $1 LIMIT 1",
        bucket,
    )
    return None if found is None else str(found)


async def claim_bucket(database: Database, storage: Storage) -> Owner:
    """Return the owner, after marking the bucket as this deployment's if it has no owner yet.

    A bucket with strangers (see `Owner`) is not marked. Several processes, also of several
    deployments, may call this at once: one deployment becomes the owner. May be repeated. Raises
    the errors of `find_owner`, and StoreUnavailable if the new marker has disappeared.
    """
    found = await find_owner(database, storage)
    if found.theirs is not None or found.has_strangers:
        return found
    await _place_marker(storage, found.ours)
    theirs, taken_at = await read_marker(storage)
    if theirs is None:
        raise StoreUnavailable("the marker of the bucket was deleted again")
    return Owner(bucket=found.bucket, ours=found.ours, theirs=theirs, taken_at=taken_at)


async def take_over(database: Database, storage: Storage) -> Owner:
    """Make this deployment the owner of the bucket, and return the new owner.

    Rows that were created while another deployment owned the bucket can no longer get a file,
    because objects under their keys may belong to that deployment. Raises StoreError and
    DatabaseAway. May be repeated.
    """
    owner = await find_owner(database, storage)
    if owner.is_foreign:
        greatest = await database.run(find_greatest_row)
        owner = replace(owner, taken_at=max(owner.taken_at, greatest))
    content = f"{owner.ours}\n{owner.taken_at}" if owner.taken_at else owner.ours
    await storage.write(MARKER, content.encode(), content_type=MARKER_TYPE)
    return replace(owner, theirs=owner.ours, has_strangers=False)


async def _place_marker(storage: Storage, ours: str) -> None:
    """Write the marker if there is none. A store that ignores `If-None-Match` replaces it."""
    content = ours.encode()
    try:
        if not await storage.create(MARKER, content, content_type=MARKER_TYPE):
            return
        # Write again to test the store: if it supports `If-None-Match`, it refuses this second
        # write.
        knows = not await storage.create(MARKER, content, content_type=MARKER_TYPE)
    except StoreRefused as error:
        if str(error) != "NotImplemented":
            raise
        await storage.write(MARKER, content, content_type=MARKER_TYPE)
        knows = False
    if not knows:
        await asyncio.sleep(SETTLE_S)


async def read_marker(storage: Storage) -> tuple[str | None, int]:
    """Return the owner's id in the marker, and `Owner.taken_at`; (None, 0) if there is no marker.

    Raises StoreUnavailable or StoreRefused. If there is no bucket, the code of StoreRefused is
    `NoSuchBucket`.
    """
    content = b""
    try:
        async with storage.read(MARKER, end=64) as (_, chunks):
            content = b"".join([chunk async for chunk in chunks])
    except ObjectMissing:
        return None, 0
    except ObjectEmpty:
        pass
    match = _CONTENT.fullmatch(content.decode("ascii", errors="replace").strip())
    return (UNREADABLE, 0) if match is None else (match[1], int(match[2] or 0))


async def _has_strangers(database: Database, storage: Storage) -> bool:
    """Return whether the bucket has originals, and no row of this database describes any of them.

    See `Owner.has_strangers`.
    """
    strangers, pages = False, 0
    async for page in storage.list_keys(keys.PREFIX):
        named = [(key, found, keys.parse_key(key)) for key, found in page]
        originals = [
            (parsed[0], key, found)
            for key, found, parsed in named
            if parsed is not None and parsed[1] == "original"
        ]
        rows = await database.run(find_rows, [each for each, _, _ in originals])
        for attachment_id, key, found in originals:
            row = rows.get(attachment_id)
            if row is None or row.bucket != storage.bucket or row.key != key:
                strangers = True
            elif row.etag == found.etag:
                return False
        pages += 1
        if pages >= MAX_PAGES:
            break
    return strangers
