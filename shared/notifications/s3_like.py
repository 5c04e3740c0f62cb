"""Stores whose records differ from Amazon's in three rules only: one line per store.

To add such a store, add a line to `S3_LIKE` and a recorded sample to `tests/data/events`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.notifications.event import decode_form


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Like:
    """The rules of a store's records.

    `source` is their `eventSource`. `decode` turns the encoded key into the key. `ordered` is true
    if sequencers of one key can be compared.
    """

    source: str
    decode: Callable[[str], str] = decode_form
    ordered: bool = True


S3_LIKE: Final = {
    "minio": S3Like(source="minio:s3"),  # the sequencer is the object's time
    "rustfs": S3Like(source="rustfs:s3"),
    # Keys are not encoded. The sequencer is a dump of a structure in memory and has no order. Older
    # builds write `etag`. The start of a multipart upload is reported as `ObjectCreated:Post`.
    "ceph": S3Like(source="ceph:s3", decode=str, ordered=False),
}
