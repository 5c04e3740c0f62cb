"""Are ids free in a stack's bucket? `attachments up` asks before it says that it is up.

It asks by itself, since `attachments reconcile` needs servers that would not run then.
"""

import asyncpg

from deploy.environment import note
from deploy.supervisor import StartFailed
from shared.errors import AttachmentsError, IdsUndecided
from shared.settings import Settings


async def check_ids(settings: Settings, *, mend: bool) -> None:
    """See that ids are free in the bucket; with `mend`, have them go on above those that are not.

    Raises StartFailed if they are not free. Where it cannot be told, the API goes on to check;
    where database and store answered and it is still undecided, that is said.
    """
    from shared import sequence
    from shared.database import open_database
    from shared.storage import open_storage

    async with open_database(settings) as database, open_storage(settings) as storage:
        try:
            while (taken := await sequence.find_taken_id(database, storage)) and mend:
                await sequence.mend_sequence(database, taken.attachment_id)
        except IdsUndecided as error:
            note(f"whether ids are free in the bucket could not be decided yet: {error}")
            return
        except (AttachmentsError, asyncpg.PostgresError):
            return
    if taken is not None:
        raise StartFailed(
            f"the bucket holds originals with ids up to {taken.attachment_id} or more, but the"
            f" database has only handed out ids up to {taken.last_id}: its rows were lost, or"
            " another deployment uses the bucket; restore them, or run `attachments up --mend`,"
            " which leaves those objects alone and has ids go on above them"
        )
