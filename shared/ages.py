"""Is an object older than its row? Then it was uploaded for another row that had the same id.

Ids are given again when rows are lost: by a restore, by a failover to a replica that was behind,
by a second deployment on the bucket. Ages are compared and never times: the object's by the
store's clock alone, the row's by the database's clock alone. So it does not matter how far the
two clocks are apart.
"""

from shared.attachments import Attachment
from shared.log import get_logger
from shared.stored_objects import StoredObject

MARGIN_S = 5.0
"""By how much an object must be older than its row, in seconds. `Date` and `Last-Modified` are
whole seconds (RFC 9110, section 5.6.7), so an age may be one second too great, and the way of an
answer from the database takes some of the row's age. No lost row comes back as a new one within
five seconds: a restore or a failover takes longer."""

log = get_logger(__name__)
_warned = False


def is_older_than_row(object_age_s: float | None, row_age_s: float) -> bool:
    """Whether an object of that age was there before a row of that age, both at one moment.

    False if the object's age is unknown.
    """
    return object_age_s is not None and object_age_s > row_age_s + MARGIN_S


def predates(found: StoredObject, row: Attachment) -> bool:
    """Whether the object under a row's key was there before the row.

    The row's age is the one that it had when it was read, plus the time from then to the store's
    answer by this process's monotonic clock. An object of unknown age (a store that tells no
    Last-Modified) is accepted; a warning is logged once.
    """
    if found.age_s is None:
        _warn_once()
        return False
    return is_older_than_row(found.age_s, row.age_s + found.answered_at - row.read_at)


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        log.warning("the store tells no Last-Modified: objects of lost rows cannot be recognized")
