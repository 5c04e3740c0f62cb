"""The messages of Amazon S3 that come by SQS, SNS or Lambda, and S3's test message.

Keys are encoded as in the query of a form. Source: Amazon S3 User Guide, "Event message
structure".
"""

from collections.abc import Iterator
from typing import Any

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent, decode_form
from shared.notifications.records import parse_records, source_of

SOURCE = "aws:s3"


def recognises(document: Any) -> bool:
    """Return whether this is S3's test message, or has records whose source is S3 or missing."""
    if isinstance(document, dict) and document.get("Event") == "s3:TestEvent":
        return True
    return source_of(document) in (SOURCE, "")


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Yield one item for each record. For the test message, yield None."""
    records = document.get("Records")
    if not isinstance(records, list):
        yield None
        return
    yield from parse_records(records, source=SOURCE, decode=decode_form, ordered=True)
