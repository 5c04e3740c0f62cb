"""What may differ between rows and bucket; `shared.reconciliation` finds it."""

from dataclasses import dataclass
from enum import StrEnum

from shared.attachments import Attachment
from shared.stored_objects import StoredObject


class Kind(StrEnum):
    """What differs. The first three are only listed; the others can be mended.

    Of `FOREIGN` (the bucket is marked as another deployment's) and `UNMARKED` (it has no marker,
    and may be another's), mending marks it as ours. Of `MOVED` (this bucket has the very object
    that a row describes, but the row names another bucket), it names this bucket.
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
    """One difference. `size` in bytes and `age_s` in seconds are the object's, by the store.

    `row` and `found` are what mending needs; of `SEQUENCE` and `LOST`, `attachment_id` is the
    greatest id; a difference of the whole bucket has none.
    """

    kind: Kind
    attachment_id: int | None
    key: str | None = None
    found: StoredObject | None = None
    row: Attachment | None = None
    mended: bool = False
