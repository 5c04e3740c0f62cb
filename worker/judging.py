"""Decide whether a file may be kept, and if not, why. A scanner's verdict is judged elsewhere."""

from shared.attachments import Attachment
from shared.errors import Rejected
from shared.limits import allows
from shared.settings import Settings
from shared.stored_objects import StoredObject


def judge(row: Attachment, found: StoredObject, content_type: str, settings: Settings) -> None:
    """Raise Rejected if the service or the attachment's client does not allow the file.

    Reserved types and names are checked first, then the size in bytes, then the types that the
    client allows.
    """
    reserved = settings.reserved_files
    if reserved.has_type(content_type) or reserved.has_name(row.name):
        raise Rejected("reserved_type")
    if found.size > row.max_bytes(settings.max_size):
        raise Rejected("too_large")
    if row.limit_types is not None and not allows(row.limit_types, content_type):
        raise Rejected("type_not_allowed")
