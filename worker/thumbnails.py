"""Write thumbnails to the store and remove outdated ones.

Every thumbnail in the store is named in a row, even after a crash.
"""

from dataclasses import replace

from shared import keys, lifecycle, older_objects
from shared.attachments import Attachment
from shared.caching import PRIVATE_FILE, PUBLIC_FILE
from shared.errors import ClaimLost, StoreUnavailable
from shared.facts import Thumbnail
from shared.lifecycle import Claim, Outcome
from shared.storage import Storage
from shared.store_limits import store_limit
from worker.tools import Tools


async def store_thumbnail(
    tools: Tools, claim: Claim, thumbnail: Thumbnail, outcome: Outcome
) -> Outcome:
    """Write a thumbnail; return the outcome with the thumbnail's name and facts.

    The name is written to the row first. So the row always names the object, even if this worker
    dies. May be repeated. Raises ClaimLost if another worker holds the upload, and StoreError.
    """
    row, lease_s = claim.attachment, tools.settings.lease
    key = keys.thumbnail_key(row.key, thumbnail.extension)
    name = key.rsplit("/", 1)[-1]
    if row.thumbnail_name != name:
        await drop_thumbnail(tools.storage, row)
    if not await tools.database.run(lifecycle.announce_thumbnail, claim, name, lease_s=lease_s):
        raise ClaimLost(str(row.id))
    try:
        # The write must end before the lease does. A later write could overwrite the thumbnail of
        # the worker that claims the upload next.
        async with store_limit(lease_s * 0.8):
            await tools.storage.write(
                key,
                thumbnail.body,
                content_type=thumbnail.content_type,
                cache_control=PUBLIC_FILE if tools.settings.files_public else PRIVATE_FILE,
            )
    except TimeoutError:
        raise StoreUnavailable("the thumbnail could not be written within the lease") from None
    return replace(outcome.joined(thumbnail.facts), thumbnail_name=name, reason=thumbnail.reason)


async def drop_thumbnail(storage: Storage, row: Attachment) -> None:
    """Remove the thumbnail of an earlier revision, if there is one. May be repeated.

    A thumbnail that is older than the row, or in another bucket, belongs to another row and is
    kept.
    """
    if row.thumbnail_key is not None and row.bucket == storage.bucket:
        await older_objects.delete_own(storage, row.thumbnail_key, row)
