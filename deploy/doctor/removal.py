"""Leave nothing behind: not of this probe, nor of those that an earlier doctor had to leave."""

import asyncio

from deploy.doctor.examination import Examination, Verdict, failed, ok, skipped, warning
from shared import attachments, keys, probes
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.errors import StoreError

POLL_EVERY_S = 0.2
IDLE_WITHIN_S = 5.0
"""How long to wait for a worker that has the probe in hand."""


async def remove_probes(examination: Examination) -> Verdict:
    """Remove the probe's objects, row and arrivals, and leftovers that are older than an hour."""
    if not examination.works("schema") or not examination.works("store"):
        return skipped("no probe was made")
    created, run = examination.created, examination.database.run
    try:
        left = await run(probes.find_leftovers, bucket=examination.settings.s3_bucket)
        busy = False
        if created is not None:
            await _wait_until_idle(examination, created.id)
            busy = await _remove(examination, created)
        for row in left:
            await _remove(examination, row)
        gone = [row.id for row in left] + ([created.id] if created and not busy else [])
        await run(probes.forget, gone)
    except (StoreError, DatabaseAway) as error:
        return failed(
            f"attachment {created.id if created else '-'} cannot be removed ({error})",
            f"grant s3:DeleteObject on arn:aws:s3:::{examination.settings.s3_bucket}/{keys.PREFIX}*"
            " if that is missing; a sweep or the next doctor removes what is left",
        )
    also = f", and {len(left)} of earlier doctors" if left else ""
    if busy:
        return warning(
            f"a worker still has the probe in hand; its row is marked deleted{also}",
            "nothing to do: a sweep removes what is left once the worker has let it go",
        )
    return ok(f"the probe is removed{also}" if created else f"there was no probe{also}")


async def _wait_until_idle(examination: Examination, attachment_id: int) -> None:
    deadline = asyncio.get_running_loop().time() + IDLE_WITHIN_S
    while asyncio.get_running_loop().time() < deadline:
        row = await examination.database.run(attachments.find_any, attachment_id)
        if row is None or row.state != "processing":
            return
        await asyncio.sleep(POLL_EVERY_S)


async def _remove(examination: Examination, row: Attachment) -> bool:
    """Remove the objects of a probe; whether a worker may write its thumbnail even now.

    Marked deleted first: from then on no worker takes it, its events have no effect, and a sweep
    removes the objects in time should we not come to it.
    """
    run = examination.database.run
    await run(attachments.delete, row.id, probes.ORGANIZATION, retention_s=0)
    found = await run(attachments.find_any, row.id) or row
    for key in {row.key, keys.thumbnail_key(row.key), found.thumbnail_key or row.key}:
        await examination.storage.delete(key)
    return found.state == "processing"
