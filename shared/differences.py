"""The kinds of difference between rows and bucket; `shared.reconciliation` finds them."""

from dataclasses import dataclass
from enum import StrEnum

from shared.attachments import Attachment
from shared.stored_objects import StoredObject


class Kind(StrEnum):
    """The kinds of difference. The first three members are only reported; the others can be mended.

    `FOREIGN`: the bucket's marker names another deployment. `UNMARKED`: the bucket has no marker
    and may belong to another deployment. To mend one of these two, the bucket is marked as ours.
    `MOVED`: this bucket has exactly the object that a row describes, but the row names another
    bucket. To mend that, the row gets the name of this bucket.
    """

    ORIGINAL_WITHOUT_ROW = "original_without_row"
    THUMBNAIL_WITHOUT_ROW = "thumbnail_without_row"
    OLDER_UNUSED = "older_than_row_unused"
    OLDER = "older_than_row"
    CHANGED = "object_changed"
    MISSING = "object_missing"
    THUMBNAIL_MISSING = "thumbnail_missing"
    SEQUENCE = "ids_above_sequence"
    LOST = "ids_near_lost_rows"
    FOREIGN = "bucket_of_another_deployment"
    UNMARKED = "bucket_without_owner"
    MOVED = "row_names_another_bucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference, with the `row` and the object `found`, which are needed to mend it.

    `found` has the object's size in bytes and its age in seconds, as the store reports them. For
    `SEQUENCE` and `LOST`, `attachment_id` is the greatest id; it is None for a difference of the
    whole bucket.
    """

    kind: Kind
    attachment_id: int | None
    key: str | None = None
    found: StoredObject | None = None
    row: Attachment | None = None
    mended: bool = False
