"""Which deployment a bucket belongs to: a marker in it holds the id of the deployment.

Two deployments give the same ids, and so the same keys, from 1 on. Ages cannot tell whose object
lies under a key where the row of one is older than the upload of the other. So a bucket has one
owner, and a deployment does nothing in a bucket of another one.
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
"""No attachment has this key, since no id is written so. It is below the prefix of uploads, so that
the rights that are granted there suffice, and that no client may have it copied."""

MARKER_TYPE: Final = "text/plain"
UNREADABLE: Final = "unknown"
"""What stands for the owner's id where the marker holds something else."""

SETTLE_S: Final = 2.0
"""How long after writing the marker it is read again, at a store that ignores `If-None-Match`: the
last of several that write at one moment is the owner, and all have written by then."""

MAX_PAGES: Final = 10
"""How many pages of keys are looked at in a bucket without a marker, for originals of rows."""

_CONTENT = re.compile(r"([0-9a-f]{32})(?:\n([0-9]{1,19}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a bucket is. `theirs` is the id in its marker; None without a marker.

    `has_strangers` says that a bucket without a marker holds originals, but none that a row of
    ours describes: it may belong to a deployment of a release that wrote no marker yet.

    `taken_at` is the greatest id that a row had when the bucket was taken over from another
    deployment; 0 if it never was. Its objects may lie under the keys of rows up to that id.
    """

    bucket: str
    ours: str
    theirs: str | None
    taken_at: int = 0
    has_strangers: bool = False

    @property
    def is_foreign(self) -> bool:
        """Whether it is another deployment's."""
        return self.theirs not in (None, self.ours)

    def may_be_anothers(self, row: Attachment, found: StoredObject | None = None) -> bool:
        """Whether an object under a row's key may be of the deployment that had the bucket before.

        An object that the row describes, because a worker read it, is the row's own.
        """
        own = row.processed_at is not None and (found is None or row.etag == found.etag)
        return row.id <= self.taken_at and not own

    def __str__(self) -> str:
        if not self.is_foreign:
            return f"bucket {self.bucket} belongs to this deployment, {self.ours}"
        return (
            f"bucket {self.bucket} belongs to deployment {self.theirs}, as its object {MARKER}"
            f" says, but this database is of deployment {self.ours}: name another bucket in"
            " ATTACHMENTS_S3_BUCKET; or, if this database replaces the other one after a restore,"
            " end all processes of the other and run `attachments reconcile --mend`, which takes"
            " the bucket over"
        )


async def find_owner(database: Database, storage: Storage) -> Owner:
    """Look whose the bucket is; writes nothing. Raises StoreError and DatabaseAway.

    StoreRefused without s3:GetObject on the marker, and where there is none without s3:ListBucket.
    """
    ours = await database.run(deployment_id)
    theirs, taken_at = await _read_marker(storage)
    return Owner(
        bucket=storage.bucket,
        ours=ours,
        theirs=theirs,
        taken_at=taken_at,
        has_strangers=theirs is None and await _has_strangers(database, storage),
    )


async def has_used(connection: Connection, bucket: str) -> bool:
    """Whether workers of ours have read a file in the bucket, by the last thousand rows."""
    found = await connection.fetchval(
        "SELECT bool_or(a.processed_at IS NOT NULL) FROM (SELECT bucket, processed_at"
        " FROM attachments ORDER BY id DESC LIMIT 1000) AS a WHERE a.bucket = $1",
        bucket,
    )
    return bool(found)


async def claim_bucket(database: Database, storage: Storage) -> Owner:
    """Do the same, and mark the bucket as ours where it has no marker and holds no strangers.

    May be run by several processes at a time, also of several deployments: one becomes the owner.
    """
    found = await find_owner(database, storage)
    if found.theirs is not None or found.has_strangers:
        return found
    await _place_marker(storage, found.ours)
    theirs, taken_at = await _read_marker(storage)
    if theirs is None:
        raise StoreUnavailable("the marker of the bucket is gone again")
    return Owner(bucket=found.bucket, ours=found.ours, theirs=theirs, taken_at=taken_at)


async def take_over(database: Database, storage: Storage) -> Owner:
    """Make the bucket ours, whosever it is; returns what it is then.

    Rows that were made before, in the bucket of another deployment, get no file any more: what lies
    under their keys may be the other one's.
    """
    owner = await find_owner(database, storage)
    if owner.is_foreign:
        greatest = await database.run(find_greatest_row)
        owner = replace(owner, taken_at=max(owner.taken_at, greatest))
    content = f"{owner.ours}\n{owner.taken_at}" if owner.taken_at else owner.ours
    await storage.write(MARKER, content.encode(), content_type=MARKER_TYPE)
    return replace(owner, theirs=owner.ours, has_strangers=False)


async def _place_marker(storage: Storage, ours: str) -> None:
    """Write the marker unless another has; at a store that cannot tell, the last one counts."""
    content = ours.encode()
    try:
        if not await storage.create(MARKER, content, content_type=MARKER_TYPE):
            return
        # A store that knows `If-None-Match` refuses the second one.
        knows = not await storage.create(MARKER, content, content_type=MARKER_TYPE)
    except StoreRefused as error:
        if str(error) != "NotImplemented":
            raise
        await storage.write(MARKER, content, content_type=MARKER_TYPE)
        knows = False
    if not knows:
        await asyncio.sleep(SETTLE_S)


async def _read_marker(storage: Storage) -> tuple[str | None, int]:
    """Read the owner's id in the marker, None if there is no marker, and `Owner.taken_at`."""
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
    """Whether there are originals without a row of ours, and none that a row of ours describes."""
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
