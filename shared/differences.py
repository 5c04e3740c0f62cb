"""The kinds of difference between the rows and the bucket; `shared.reconciliation` finds them."""

from dataclasses import dataclass
from enum import StrEnum

from shared.attachments import Attachment
from shared.stored_objects import StoredObject


class Kind(StrEnum):
    """The kinds of difference. The first three members are only reported, the others mended.

    `FOREIGN`: the bucket's marker names another deployment. `UNMARKED`: the bucket has no marker
    and may belong to another deployment. Both are mended by marking the bucket as this
    deployment's. `MOVED`: this bucket has exactly the object that a row describes, but the row
    names another bucket. It is mended by writing this bucket's name in the row.
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
    """One difference, with the `row` and the stored object `found` that are needed to mend it.

    `attachment_id` is None for a difference of the whole bucket. For `SEQUENCE` it is the greatest
    id in use. For `LOST` it is the greatest id of a lost row.
    """

    kind: Kind
    attachment_id: int | None
    key: str | None = None
    found: StoredObject | None = None
    row: Attachment | None = None
    mended: bool = False
