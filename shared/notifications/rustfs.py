"""RustFS: in the envelope, the names and the encoding of MinIO."""

from collections.abc import Iterator
from typing import Any

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent, decode_form
from shared.notifications.records import parse_records, source_of

SOURCE = "rustfs:s3"


def recognises(document: Any) -> bool:
    """Whether its records are RustFS's."""
    return source_of(document) == SOURCE


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record; the key of the envelope repeats the record's."""
    yield from parse_records(document["Records"], source=SOURCE, decode=decode_form, ordered=True)
