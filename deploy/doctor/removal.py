"""Remove the attachment that this doctor uploaded, and attachments that earlier doctors left."""

import asyncio
import time
from dataclasses import replace

from deploy.doctor.examination import Examination, Verdict, failed, ok, skipped, warning
from shared import attachments, keys, lifecycle, probes
from shared.attachments import Attachment
from shared.database import DatabaseAway
from shared.erasure import Eraser, listings_of
from shared.errors import StoreError

POLL_EVERY_S = 0.2
IDLE_WITHIN_S = 5.0
"""Maximum time, in seconds, to wait for a worker that is processing the probe."""


async def remove_probes(examination: Examination) -> Verdict:
    """Remove the probe's objects, row and arrivals. Also remove probes older than an hour."""
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
        of_versions = " and s3:DeleteObjectVersion" if "Version" in str(error) else ""
        return failed(
            f"attachment {created.id if created else '-'} cannot be removed ({error})",
            f"grant s3:DeleteObject{of_versions} on"
            f" arn:aws:s3:::{examination.settings.s3_bucket}/{keys.PREFIX}*"
            " if that is missing; a sweep or the next doctor removes the rest",
        )
    also = f", and {len(left)} of earlier doctors" if left else ""
    if busy:
        return warning(
            f"a worker is still processing the probe; its row is marked deleted{also}",
            "nothing to do: a sweep removes the rest when the worker has finished",
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
    """Remove all versions of a probe's objects.

    First mark the row as deleted. Then no worker claims it, its events have no effect, and a sweep
    removes the objects if the doctor ends early. Returns True if a worker that has claimed the row
    before may still write objects.
    """
    run = examination.database.run
    await run(attachments.delete, row.id, probes.ORGANIZATION, retention_s=0)
    found = await run(attachments.find_any, row.id) or row
    began = time.monotonic()
    age_s = await run(lifecycle.row_age_s, row.id) or 0.0
    original, *thumbnails = listings_of(found)
    await Eraser(examination.storage).erase(
        # Include all possible thumbnail keys, because a worker may write a thumbnail after the row
        # was read.
        (original, *(replace(each, current=each.keys) for each in thumbnails)),
        row_age_s=lambda: age_s + time.monotonic() - began,
    )
    return found.state == "processing"
