"""Stores whose records differ from Amazon's only in three rules. Each store is one line.

To add such a store, add a line to `S3_LIKE` and a recorded message to `tests/data/events`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.notifications.event import decode_form


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Like:
    """The three rules of a store's records.

    `source` is the `eventSource` of the records. `decode` decodes a key. `ordered` is true if the
    sequencers of one key can be compared.
    """

    source: str
    decode: Callable[[str], str] = decode_form
    ordered: bool = True


S3_LIKE: Final = {
    "minio": S3Like(source="minio:s3"),  # the sequencer is the time of the object
    "rustfs": S3Like(source="rustfs:s3"),
    # Keys are not encoded. The sequencer is a dump of memory and has no order. Older builds write
    # `etag` for `eTag`. The start of a multipart upload is reported as `ObjectCreated:Post`.
    "ceph": S3Like(source="ceph:s3", decode=str, ordered=False),
}
