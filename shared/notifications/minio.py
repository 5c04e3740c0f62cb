"""MinIO: records like S3's, with `/` in keys as `%2F`; the sequencer is the object's time."""

from collections.abc import Iterator
from typing import Any

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent, decode_form
from shared.notifications.records import parse_records, source_of

SOURCE = "minio:s3"


def recognises(document: Any) -> bool:
    """Whether its records are MinIO's."""
    return source_of(document) == SOURCE


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record; the key of the envelope repeats the record's."""
    yield from parse_records(document["Records"], source=SOURCE, decode=decode_form, ordered=True)
