"""Decide whether an object is older than its row, and so was uploaded for another row with this id.

Ids are reused if rows are lost, by a restore or by a failover to a replica that lagged, or if a
second deployment uses the bucket. Ages are compared, never times: the object's age by the store's
clock alone, the row's age by the database's clock alone. So a difference between the two clocks
does not matter.
"""

from shared.attachments import Attachment
from shared.log import get_logger
from shared.stored_objects import StoredObject

MARGIN_S = 5.0
"""The seconds by which an object must be older than its row. `Date` and `Last-Modified` are whole
seconds (RFC 9110, section 5.6.7), so an age may be one second too great. A row seems younger by the
time that the database's answer takes to arrive. The id of a lost row is not reused within five
seconds, because a restore or a failover takes longer."""

log = get_logger(__name__)
_warned = False


def is_older_than_row(object_age_s: float | None, row_age_s: float) -> bool:
    """Return whether an object existed before a row; both ages in seconds at the same moment.

    False if the object's age is unknown.
    """
    return object_age_s is not None and object_age_s > row_age_s + MARGIN_S


def predates(found: StoredObject, row: Attachment) -> bool:
    """Return whether the object under a row's key existed before the row.

    The row's age is its age when it was read plus the time from then to the store's answer, by this
    process's monotonic clock. An object of unknown age (from a store that sends no Last-Modified)
    is accepted; a warning is logged once.
    """
    if found.age_s is None:
        _warn_once()
        return False
    return is_older_than_row(found.age_s, row.age_s + found.answered_at - row.read_at)


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        log.warning("the store returns no Last-Modified: objects of lost rows cannot be recognized")
