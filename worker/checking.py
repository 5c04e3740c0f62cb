"""Ask the store about the object of a due row, in case its event was lost."""

from shared import lifecycle, older_objects
from shared.attachments import Attachment
from shared.errors import ObjectMissing
from shared.lifecycle import WakeUp
from shared.log import get_logger
from shared.notifications import UploadEvent
from shared.reasons import NO_OBJECT
from shared.states import END_STATES, MEASURED
from shared.stored_objects import StoredObject
from worker.patience import Gate
from worker.thumbnails import drop_thumbnails
from worker.tools import Tools

log = get_logger(__name__)


async def check_object(tools: Tools, row: Attachment, *, gate: Gate) -> WakeUp | None:
    """Ask the store about the object of an attachment, and record the answer.

    Returns a wake-up if there is an object that the row does not describe: that object must be
    processed now. `gate` records whether the call succeeded. May be repeated. Raises StoreError.
    """
    if row.bucket != tools.storage.bucket:
        await _leave_elsewhere(tools, row)
        return None
    try:
        with gate.watch():
            await tools.bucket.require_known_ours()
            found = await tools.storage.head(row.key)
    except ObjectMissing:
        await drop_thumbnails(tools.storage, row)
        state = await tools.database.run(
            lifecycle.settle_missing, row, next_check_s=tools.settings.pending_check
        )
        if state is None and row.thumbnail_name is not None:
            # An upload was recorded meanwhile. The thumbnail that was removed above may belong to
            # it.
            await tools.database.run(lifecycle.process_again, row.id)
        if state is not None and state != row.state:
            log.info("no object", attachment=row.id, state=state)
        return None
    if tools.bucket.is_anothers(found, row):
        await _leave_alone(tools, row, found)
        return None
    known = row.etag == found.etag and row.version_id in (None, found.version_id)
    described = row.state in MEASURED or (row.state == "failed" and row.reason not in NO_OBJECT)
    if known and described:
        await tools.database.run(lifecycle.settle_unchanged, row)
        return None
    event = UploadEvent(
        bucket=row.bucket, key=row.key, etag=found.etag, version_id=found.version_id
    )
    recorded = await tools.database.run(
        lifecycle.record_uploads, [event], publish_grace_s=tools.settings.publish_grace
    )
    woken = recorded.woken
    log.info("found an upload without an event", attachment=row.id, recorded=bool(woken))
    return woken[0] if woken else None


async def _leave_elsewhere(tools: Tools, row: Attachment) -> None:
    """End the check of a row that names another bucket, as if its object were missing."""
    if row.state in END_STATES:
        await tools.database.run(lifecycle.settle_unchanged, row)
    else:
        await tools.database.run(
            lifecycle.settle_missing, row, next_check_s=tools.settings.pending_check
        )
    log.warning("row names another bucket", attachment=row.id, bucket=row.bucket)


async def _leave_alone(tools: Tools, row: Attachment, found: StoredObject) -> None:
    """Record that the object is older than its row, and remove the row's own thumbnail."""
    older_objects.note_older(row, found, seen_by="sweep")
    await drop_thumbnails(tools.storage, row)
    # If the row describes an object with another etag, that object no longer exists.
    lost = row.state in END_STATES and row.etag not in (None, found.etag)
    settle = lifecycle.settle_missing if lost else older_objects.settle_older
    state = await tools.database.run(settle, row, next_check_s=tools.settings.pending_check)
    if state is None and row.thumbnail_name is not None:
        # An upload was recorded meanwhile. The thumbnail that was removed above may belong to it.
        await tools.database.run(lifecycle.process_again, row.id)
