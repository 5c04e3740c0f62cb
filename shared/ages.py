"""Compare the age of an object with the age of its row.

After a restore of the database, ids are given out again. An object that is older than the row that
names its key then belongs to another attachment, maybe of another organization.
"""

MARGIN_S = 5.0
"""Both ages are measured over a network, and the store's are whole seconds."""


def is_older_than_row(object_age_s: float | None, row_age_s: float) -> bool:
    """Return whether an object was stored before its row was created; False if its age is unknown.

    `object_age_s` is by the store's clock, `row_age_s` by the database's; only ages are compared.
    """
    return object_age_s is not None and object_age_s > row_age_s + MARGIN_S
