"""Amazon S3 by SQS, SNS or Lambda, and what it sends when that is set up.

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
    """Whether it is S3's list of records, or of no source at all, or the message of the setup."""
    if isinstance(document, dict) and document.get("Event") == "s3:TestEvent":
        return True
    return source_of(document) in (SOURCE, "")


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record; of the setup's message there is nothing to read."""
    records = document.get("Records")
    if not isinstance(records, list):
        yield None
        return
    yield from parse_records(records, source=SOURCE, decode=decode_form, ordered=True)
