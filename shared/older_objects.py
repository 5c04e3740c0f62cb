"""Set aside an object that is older than its row: it is not used for the row.

The object stays in the bucket, because after a loss of rows it may be all that is left. The row
continues as if no object had been seen: it is `pending` while its policy lasts, then `expired`. An
upload under the row's policy replaces the object and is used. `shared.ages` compares the ages.
"""

import itertools
from typing import Literal

from shared.ages import predates
from shared.attachments import LATE_UPLOAD_S, Attachment
from shared.database import Connection
from shared.errors import ObjectMissing
from shared.facts import DECLARED, MEASURED
from shared.lifecycle import ALIVE, NEXT_CHECK, Claim, held, unless_copied
from shared.log import get_logger
from shared.metrics import OLDER_OBJECTS
from shared.states import State
from shared.storage import Storage
from shared.stored_objects import StoredObject

log = get_logger(__name__)
_count = itertools.count(1)

# An upload that begins just before the policy's end may end much later, so an `expired` row is
# checked once more.
_NEXT = f"""CASE WHEN {ALIVE} THEN {NEXT_CHECK}
                  WHEN a.policy_expires_at + {LATE_UPLOAD_S} * interval '1 second' > now()
                  THEN a.policy_expires_at + {LATE_UPLOAD_S} * interval '1 second' END"""

# $5 is the number of seconds to the next check. The facts that the client declared are kept, unless
# an object was processed: then they may have been measured in the older object, so they are
# cleared.
_FORGET_FACTS = ", ".join(
    f"{name} = CASE WHEN a.processed_at IS NULL THEN a.{name} END"
    if name in DECLARED
    else f"{name} = NULL"
    for name in MEASURED
)
_SET_ASIDE = f"""
    state = CASE WHEN {ALIVE} THEN 'pending' ELSE 'expired' END, reason = NULL,
    etag = NULL, version_id = NULL, sequencer = NULL, uploaded_at = NULL,
    {_FORGET_FACTS}, carries_more = false,
    resized = false, thumbnail_spoiled = false, processed_at = NULL,
    due_at = {unless_copied(_NEXT)}
"""


SeenBy = Literal["api", "worker", "sweep", "delete"]
"""The part of the service that found the older object."""


def note_older(row: Attachment, found: StoredObject, *, seen_by: SeenBy) -> None:
    """Count and log an object that is older than its row. Call it once for each older object."""
    OLDER_OBJECTS.inc()
    log.warning(
        "object older than its row",
        attachment=row.id,
        seen_by=seen_by,
        object_age_s=found.age_s,
        row_age_s=round(row.age_s + found.answered_at - row.read_at, 3),
        count=next(_count),
    )


async def set_aside(
    connection: Connection, claimed: Claim, *, revision: int, next_check_s: float
) -> State | None:
    """Set aside the object of a claimed row. Return the row's new state.

    Returns None and changes nothing if the claim is lost or a newer upload has been recorded.
    """
    state: State | None = await connection.fetchval(
        f"UPDATE attachments AS a SET {_SET_ASIDE} WHERE {held(6)} AND a.revision = $4"
        " RETURNING a.state",
        *claimed.proof,
        revision,
        next_check_s,
        claimed.attachment.organization_id,
    )
    return state


async def settle_older(
    connection: Connection, seen: Attachment, *, next_check_s: float
) -> State | None:
    """Set aside the object of an unclaimed row, if the row is unchanged since `seen` was read.

    Returns the row's new state, or None if the row has changed.
    """
    state: State | None = await connection.fetchval(
        f"UPDATE attachments AS a SET {_SET_ASIDE} WHERE a.id = $1 AND a.revision = $2"
        " AND a.state = $3 AND a.state <> 'processing' AND a.deleted_at IS NULL"
        " AND a.organization_id = $4 RETURNING a.state",
        seen.id,
        seen.revision,
        seen.state,
        seen.organization_id,
        next_check_s,
    )
    return state


async def delete_own(storage: Storage, key: str, row: Attachment) -> bool:
    """Delete the object at a row's key, unless the object is older than the row. May be repeated.

    Returns whether no object is left at the key.
    """
    try:
        found = await storage.head(key)
    except ObjectMissing:
        return True
    if predates(found, row):
        note_older(row, found, seen_by="delete")
        return False
    await storage.delete(key)
    return True
