"""Remove the objects of a deleted attachment from the store."""

import time

from shared import lifecycle
from shared.attachments import Attachment
from shared.erasure import Eraser, listings_of
from shared.log import get_logger
from shared.part_copies import remove_unfinished
from worker.tools import Tools

log = get_logger(__name__)


async def purge(tools: Tools, eraser: Eraser, row: Attachment) -> None:
    """Remove all versions of a deleted attachment's objects, within 80 % of the lease.

    May be repeated. If the time is too short, the row is due again later, and the next purge
    removes the rest. The row must name the bucket of the settings. Raises StoreError and
    DatabaseAway.
    """
    await tools.bucket.require_known_ours()
    database, lease_s = tools.database, tools.settings.lease
    if tools.bucket.has_nothing_of(row):
        await database.run(lifecycle.settle_purged, row.id)
        log.info("nothing purged: no object is known to belong to the row", attachment=row.id)
        return
    began = time.monotonic()
    age_s = await database.run(lifecycle.row_age_s, row.id)
    if age_s is None:
        return
    if row.copy_attempt:
        await remove_unfinished(tools.storage, row.key)
    ended = await eraser.erase(
        listings_of(row),
        row_age_s=lambda: age_s + time.monotonic() - began,
        give_up_at=began + lease_s * 0.8,
    )
    if ended:
        await database.run(lifecycle.settle_purged, row.id)
        log.info("purged", attachment=row.id)
    else:
        log.info("partly purged", attachment=row.id)
