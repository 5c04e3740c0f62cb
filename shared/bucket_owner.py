"""Which deployment a bucket belongs to: a marker in it holds the id of the deployment.

Two deployments give the same ids, and so the same keys, from 1 on. Ages cannot tell whose object
lies under a key where the row of one is older than the upload of the other. So a bucket has one
owner, and a deployment does nothing in a bucket of another one.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from shared import keys
from shared.attachments import find_rows
from shared.database import Database
from shared.deployment import deployment_id
from shared.errors import ObjectEmpty, ObjectMissing, StoreRefused, StoreUnavailable
from shared.storage import Storage

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

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a bucket is. `theirs` is the id in its marker; None without a marker.

    `has_strangers` says that a bucket without a marker holds originals, but none that a row of
    ours describes: it may belong to a deployment of a release that wrote no marker yet.
    """

    bucket: str
    ours: str
    theirs: str | None
    has_strangers: bool = False

    @property
    def is_foreign(self) -> bool:
        """Whether it is another deployment's."""
        return self.theirs not in (None, self.ours)

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
    theirs = await _read_marker(storage)
    return Owner(
        bucket=storage.bucket,
        ours=ours,
        theirs=theirs,
        has_strangers=theirs is None and await _has_strangers(database, storage),
    )


async def claim_bucket(database: Database, storage: Storage) -> Owner:
    """Do the same, and mark the bucket as ours where it has no marker and holds no strangers.

    May be run by several processes at a time, also of several deployments: one becomes the owner.
    """
    found = await find_owner(database, storage)
    if found.theirs is not None or found.has_strangers:
        return found
    await _place_marker(storage, found.ours)
    theirs = await _read_marker(storage)
    if theirs is None:
        raise StoreUnavailable("the marker of the bucket is gone again")
    return Owner(bucket=found.bucket, ours=found.ours, theirs=theirs)


async def take_over(database: Database, storage: Storage) -> None:
    """Make the bucket ours, whosever it is."""
    ours = await database.run(deployment_id)
    await storage.write(MARKER, ours.encode(), content_type=MARKER_TYPE)


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


async def _read_marker(storage: Storage) -> str | None:
    """Read the id in the marker; None if there is no marker."""
    content = b""
    try:
        async with storage.read(MARKER, end=64) as (_, chunks):
            content = b"".join([chunk async for chunk in chunks])
    except ObjectMissing:
        return None
    except ObjectEmpty:
        pass
    text = content.decode("ascii", errors="replace").strip()
    return text if _ID.fullmatch(text) else UNREADABLE


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
