"""Find the differences between the rows and the objects of a bucket, and mend them.

The bucket is listed page by page, and each page is compared with its rows. Then all rows are read,
to find those whose objects were not listed. One bit per id is kept between these two passes, so ten
million attachments take about two megabytes. Other processes keep working meanwhile, so a changed
or missing object is checked once more before it is reported. No object is ever deleted, because an
original without a row may be all that is left of a lost attachment.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from shared import bucket_owner, keys, lifecycle, older_objects, sequence
from shared.ages import predates
from shared.attachments import COLUMNS, Attachment, find_rows
from shared.database import Connection, Database
from shared.differences import Difference, Kind
from shared.errors import IdsUndecided, ObjectMissing
from shared.id_sets import IdSet
from shared.lifecycle import WakeUp
from shared.notifications import UploadEvent
from shared.part_settings import WaitSettings
from shared.reasons import NO_OBJECT
from shared.states import MEASURED, UNDER_WAY
from shared.storage import Storage
from shared.stored_objects import StoredObject
from shared.styles import named_keys, shown_thumbnails

PAGE = 1000

OnProgress = Callable[[int, int], None]
"""A function that gets the numbers of objects and of rows that have been compared so far."""


async def name_bucket(connection: Connection, seen: Attachment, bucket: str) -> None:
    """Set the bucket of a row to `bucket`, if the row is unchanged since `seen` was read."""
    await connection.execute(
        "UPDATE attachments SET bucket = $4"
        " WHERE id = $1 AND revision = $2 AND state = $3 AND deleted_at IS NULL",
        seen.id,
        seen.revision,
        seen.state,
        bucket,
    )


async def walk_rows(connection: Connection, after: int) -> list[Attachment]:
    """List the next page of rows with ids greater than `after`, by id, also deleted rows."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM attachments AS a WHERE a.id > $1 ORDER BY a.id LIMIT {PAGE}", after
    )
    return [Attachment.from_row(row) for row in rows]


def _is_settled(row: Attachment) -> bool:
    """Return whether the row describes an object and waits for no worker."""
    return row.state in MEASURED or (
        row.state == "failed" and row.reason not in NO_OBJECT and row.etag is not None
    )


def _differs(row: Attachment, found: StoredObject) -> bool:
    """Return whether the row does not describe the object that the store has."""
    if _is_settled(row):
        return row.etag != found.etag
    unseen = row.state == "expired" or (row.state == "failed" and row.reason in NO_OBJECT)
    return unseen or (row.state == "pending" and row.due_at is None)


class Reconciliation:
    """Finds and mends the differences between one bucket and its rows.

    Every method may be repeated.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        settings: WaitSettings,
        on_progress: OnProgress = lambda objects, rows: None,
    ) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._on_progress = on_progress
        self._originals = IdSet()
        self._moved = IdSet()
        self._thumbnails: dict[str, IdSet] = {}  # by style
        self._owner: bucket_owner.Owner | None = None
        self._greatest = 0
        self._lost = 0
        self.objects = 0
        self.rows = 0

    async def differences(self) -> AsyncIterator[Difference]:
        """Yield the differences. Raises DatabaseAway, or StoreRefused if listing is forbidden.

        The first difference is that of the id sequence, the second that of the bucket's owner. If
        the caller mends them in this order, no id is reused in a bucket that is taken over. The id
        sequence may be reported again at the end: the complete listing may show a greater id, or
        ids of lost rows.
        """
        owner = self._owner = await bucket_owner.find_owner(self._database, self._storage)
        try:
            taken = await sequence.find_taken_id(self._database, self._storage)
        except IdsUndecided:
            taken = None  # the listing of the whole bucket will show the greatest id
        if taken is not None:
            yield Difference(kind=Kind.SEQUENCE, attachment_id=taken.attachment_id)
        if owner.is_foreign or owner.has_strangers:
            kind = Kind.FOREIGN if owner.is_foreign else Kind.UNMARKED
            yield Difference(kind=kind, attachment_id=None, key=bucket_owner.MARKER)
        async for page in self._storage.list_keys(keys.PREFIX, page_size=PAGE):
            for difference in await self._compare(page):
                yield difference
            self._on_progress(self.objects, self.rows)
        async for difference in self._unlisted():
            yield difference
        greatest = max(self._greatest, await self._database.run(sequence.find_greatest_row))
        last_id = await self._database.run(sequence.find_last_id)
        if greatest > max(last_id, taken.attachment_id if taken else 0):
            yield Difference(kind=Kind.SEQUENCE, attachment_id=greatest)
        elif taken is None and self._lost and last_id < self._lost + sequence.STEP:
            yield Difference(kind=Kind.LOST, attachment_id=self._lost)

    async def _compare(self, page: Sequence[tuple[str, StoredObject]]) -> list[Difference]:
        """Compare one page of the bucket's listing with the rows of its keys."""
        named = [(key, found, keys.parse_key(key)) for key, found in page]
        ids = sorted({parsed[0] for _, _, parsed in named if parsed is not None})
        rows = await self._database.run(find_rows, ids)
        self.objects += sum(key != bucket_owner.MARKER for key, _ in page)
        differences = []
        for key, found, parsed in named:
            if parsed is None:  # not the key of an attachment
                continue
            row = rows.get(parsed[0])
            if row is not None and row.bucket != self._storage.bucket:
                if (difference := self._judge_moved(row, key, found)) is not None:
                    differences.append(difference)
                if row.id in self._moved and key in (row.key, *named_keys(row).values()):
                    continue
                row = None
            if parsed[1] == keys.ORIGINAL:
                self._greatest = max(self._greatest, parsed[0])
                difference = self._judge_original(parsed[0], key, found, row)
            else:
                difference = self._judge_thumbnail(*parsed, key, found, row)
            if difference is not None and difference.kind is Kind.CHANGED:
                difference = await self._asked_again(difference)
            if difference is not None:
                differences.append(difference)
        return differences

    def _judge_moved(self, row: Attachment, key: str, found: StoredObject) -> Difference | None:
        """Return a difference if a row describes this object, but names another bucket.

        Etag and size must be equal. A copy of a large object may have another etag. Such a copy
        counts as an original without a row.
        """
        same = row.key == key and (row.etag, row.size) == (found.etag, found.size)
        if not same or row.deleted_at is not None or not _is_settled(row):
            return None
        self._moved.add(row.id)
        return Difference(kind=Kind.MOVED, attachment_id=row.id, key=key, found=found, row=row)

    def _judge_original(
        self, attachment_id: int, key: str, found: StoredObject, row: Attachment | None
    ) -> Difference | None:
        difference = Difference(
            kind=Kind.ORIGINAL_WITHOUT_ROW, attachment_id=attachment_id, key=key, found=found
        )
        if row is None or row.key != key:
            self._lost = max(self._lost, attachment_id)
            return difference
        if row.deleted_at is not None:  # if due_at is set, the sweep will purge the object
            return difference if row.due_at is None else None
        difference = replace(difference, row=row)
        if predates(found, row) or (
            self._owner is not None and self._owner.may_be_anothers(row, found)
        ):
            self._lost = max(self._lost, attachment_id)
            return replace(difference, kind=Kind.OLDER if _is_settled(row) else Kind.OLDER_UNUSED)
        self._originals.add(attachment_id)
        return replace(difference, kind=Kind.CHANGED) if _differs(row, found) else None

    def _judge_thumbnail(
        self, attachment_id: int, style: str, key: str, found: StoredObject, row: Attachment | None
    ) -> Difference | None:
        named = row is not None and named_keys(row).get(style) == key
        if row is not None and row.state in UNDER_WAY:
            return None  # a worker is about to store or remove the thumbnail
        if row is not None and named and not predates(found, row):
            self._thumbnails.setdefault(style, IdSet()).add(attachment_id)
        if named and (row is None or row.deleted_at is None or row.due_at is not None):
            return None
        return Difference(
            kind=Kind.THUMBNAIL_WITHOUT_ROW, attachment_id=attachment_id, key=key, found=found
        )

    async def _asked_again(self, difference: Difference) -> Difference | None:
        """Ask store and database once more. Returns the difference, or None if they agree now."""
        assert difference.key is not None
        try:
            found = await self._storage.head(difference.key)
        except ObjectMissing:
            return None  # if the row still describes the object, `_unlisted` reports that
        assert difference.attachment_id is not None
        row = (await self._database.run(find_rows, [difference.attachment_id])).get(
            difference.attachment_id
        )
        if row is None or row.deleted_at is not None or not _differs(row, found):
            return None
        return replace(difference, found=found, row=row)

    async def _unlisted(self) -> AsyncIterator[Difference]:
        """Read all rows, and ask the store for each object that was not listed."""
        after = 0
        while rows := await self._database.run(walk_rows, after):
            after = rows[-1].id
            self.rows += len(rows)
            self._on_progress(self.objects, self.rows)
            for row in rows:
                ours = row.bucket == self._storage.bucket and row.deleted_at is None
                if not ours or not _is_settled(row):
                    continue
                if row.id not in self._originals:
                    difference = await self._sought(Kind.MISSING, row, row.key)
                else:
                    difference = await self._missing_thumbnail(row)
                if difference is not None:
                    yield difference

    async def _missing_thumbnail(self, row: Attachment) -> Difference | None:
        """Return the first thumbnail, in any style, that a row shows and the store lacks."""
        for style, each in shown_thumbnails(row).items():
            if row.id not in self._thumbnails.get(style, IdSet()):
                difference = await self._sought(Kind.THUMBNAIL_MISSING, row, each.key)
                if difference is not None:
                    return difference
        return None

    async def _sought(self, kind: Kind, row: Attachment, key: str) -> Difference | None:
        try:
            await self._storage.head(key)
        except ObjectMissing:
            return Difference(kind=kind, attachment_id=row.id, key=key, row=row)
        return None

    async def mend(self, difference: Difference) -> tuple[Difference, list[WakeUp]]:
        """Mend a difference if possible. Return the difference, and the wake-ups to publish.

        If the row has changed since it was read, the row is left as it is, and the difference
        counts as mended.
        """
        run, row, woken = self._database.run, difference.row, list[WakeUp]()
        check_s = self._settings.pending_check
        match difference.kind:
            case Kind.FOREIGN | Kind.UNMARKED:
                self._owner = await bucket_owner.take_over(self._database, self._storage)
            case Kind.SEQUENCE if difference.attachment_id is not None:
                await sequence.mend_sequence(self._database, difference.attachment_id)
            case Kind.LOST if difference.attachment_id is not None:
                await sequence.keep_clear(self._database, difference.attachment_id)
            case Kind.CHANGED if row is not None and difference.found is not None:
                event = UploadEvent(
                    bucket=row.bucket,
                    key=row.key,
                    etag=difference.found.etag,
                    version_id=difference.found.version_id,
                )
                grace_s = self._settings.publish_grace
                recorded = await run(lifecycle.record_uploads, [event], publish_grace_s=grace_s)
                woken = recorded.woken
            case Kind.MOVED if row is not None:
                await run(name_bucket, row, self._storage.bucket)
            case Kind.MISSING if row is not None:
                await run(lifecycle.settle_missing, row, next_check_s=check_s)
            case Kind.OLDER if row is not None and difference.found is not None:
                # If the row describes another object than the older one, the object that it
                # describes is gone.
                lost = row.etag not in (None, difference.found.etag)
                settle = lifecycle.settle_missing if lost else older_objects.settle_older
                await run(settle, row, next_check_s=check_s)
            case Kind.THUMBNAIL_MISSING if row is not None:
                await run(lifecycle.process_again, row.id)
            case _:
                return difference, woken
        return replace(difference, mended=True), woken
