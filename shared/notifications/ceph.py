"""Ceph RGW: records like S3's, with keys as they are.

The sequencer is a dump of a structure in memory and orders nothing. Older builds say `etag`.
The beginning of a multipart upload comes as `ObjectCreated:Post`, when there is no object yet.
"""

from collections.abc import Iterator
from typing import Any

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent
from shared.notifications.records import parse_records, source_of

SOURCE = "ceph:s3"


def recognises(document: Any) -> bool:
    """Whether its records are Ceph's."""
    return source_of(document) == SOURCE


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record."""
    yield from parse_records(document["Records"], source=SOURCE, decode=str, ordered=False)
