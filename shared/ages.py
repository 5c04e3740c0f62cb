"""Decide whether an object is older than its row: then it was uploaded for another row.

Two rows can have the same id if rows were lost, by a restore or by a failover to a replica that
lagged, or if a second deployment uses the bucket. The object's age is measured by the store's clock
alone, and the row's age by the database's clock alone. Only these ages are compared, so a
difference between the two clocks does not matter.
"""

from shared.attachments import Attachment
from shared.log import get_logger
from shared.stored_objects import StoredObject

MARGIN_S = 5.0
"""The seconds by which an object must be older than its row. `Date` and `Last-Modified` are whole
seconds (RFC 9110, section 5.6.7), so an object's age may be one second too great. A row's age is
too small by the time between its measurement and the arrival of the database's answer. A restore or
a failover takes longer than five seconds, so a lost row's id is not reused within that time."""

log = get_logger(__name__)
_warned = False


def is_older_than_row(object_age_s: float | None, row_age_s: float) -> bool:
    """Return whether an object existed before its row.

    Both ages must be measured at the same moment. Returns False if the object's age is unknown
    (None).
    """
    return object_age_s is not None and object_age_s > row_age_s + MARGIN_S


def predates(found: StoredObject, row: Attachment) -> bool:
    """Return whether the object under a row's key existed before the row.

    The row's age was measured when the row was read. The time between that moment and the store's
    answer is added; this process's monotonic clock measures it. If the store sends no
    Last-Modified, the age is unknown: the result is False, and a warning is logged once.
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
