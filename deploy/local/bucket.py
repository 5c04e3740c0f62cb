"""Check the owner of the bucket and the ids of its objects, before a local stack is ready.

If the check fails, the operator can use `attachments up --mend`. `attachments reconcile` cannot
help, because it needs the servers, which run only while `up` runs.
"""

from typing import TYPE_CHECKING

import asyncpg

from deploy.commands.environment import note
from deploy.processes.supervisor import StartFailed
from shared.errors import AttachmentsError, IdsUndecided
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.database import Database
    from shared.storage import Storage


async def check_bucket(settings: Settings, *, mend: bool) -> None:
    """Check that the bucket belongs to this stack, and that the next attachment ids are free.

    An id is free if the bucket has no original with this id. Raises StartFailed if one of these
    checks fails. With `mend`, repairs the fault instead. If the database or the store does not
    answer, the API makes the checks later. If they answer, but the check of the ids has no clear
    result, prints a note.
    """
    from shared.database import open_database
    from shared.store_client import open_storage

    async with open_database(settings) as database, open_storage(settings) as storage:
        try:
            # Mend the ids first, because new ids may be assigned as soon as the owner is mended.
            if mend:
                await _check_ids(database, storage, mend=True)
            await _check_owner(database, storage, mend=mend)
            await _check_ids(database, storage, mend=mend)
        except IdsUndecided as error:
            note(f"the check of ids in the bucket was undecided: {error}")
        except StartFailed:
            raise
        except (AttachmentsError, asyncpg.PostgresError):
            return


async def _check_owner(database: "Database", storage: "Storage", *, mend: bool) -> None:
    from shared import bucket_owner

    owner = await bucket_owner.claim_bucket(database, storage)
    if (owner.is_foreign or owner.has_strangers) and mend:
        await bucket_owner.take_over(database, storage)
    elif owner.is_foreign:
        raise StartFailed(
            f"bucket {owner.bucket} belongs to deployment {owner.theirs}, but this database is of"
            f" deployment {owner.ours}: name another bucket, or restore the other database; if this"
            " one replaces it, run `attachments up --mend`, which takes the bucket over"
        )


async def _check_ids(database: "Database", storage: "Storage", *, mend: bool) -> None:
    from shared import sequence

    while (taken := await sequence.find_taken_id(database, storage)) and mend:
        await sequence.mend_sequence(database, taken.attachment_id)
    if taken is not None:
        raise StartFailed(
            f"the bucket holds originals with ids up to {taken.attachment_id} or more, but the"
            f" database has assigned ids only up to {taken.last_id}: its rows were lost, or"
            " another deployment uses the bucket; restore them, or run `attachments up --mend`,"
            " which leaves those objects alone and continues ids above them"
        )
